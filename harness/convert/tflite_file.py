"""A .tflite file that grows tensor by tensor and operator by operator. Its tensors are float32 or quantized to 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_ALIGNMENT = 16
_VERSION = 3
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}


@dataclass(frozen=True)
class Quantization:
    """Real values are (number - zero_point) x scale; with several scales each is of one index along `axis`."""

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0

    @classmethod
    def of_range(cls, low: float, high: float) -> Quantization:
        """Return what spreads a range that holds 0 over 8 bits."""
        scale = (high - low) / 255
        return cls((scale,), round(-128 - low / scale))


@dataclass(frozen=True)
class Kind:
    """How the file knows an operator."""

    code: int
    options: int
    version: int = 1


class TfliteFile:
    """One subgraph. What `tensor`, `data` and `constant` return are the numbers that operators take."""

    def __init__(self) -> None:
        self._buffers = [schema.BufferT()]  # by convention the first is empty: it stands for tensors without data
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._versions: dict[int, int] = {}  # of each operator code, the highest that one of its operators needs
        self._constants: dict[tuple[bytes, str, tuple[int, ...], Quantization | None], int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many tensors there are, which is the number of the next one."""
        return len(self._tensors)

    def tensor(self, shape: Sequence[int], quantization: Quantization | None = None) -> int:
        """Add a tensor that an operator computes: int8 where it is quantized, else float32."""
        return self._add(shape, np.dtype(np.float32 if quantization is None else np.int8), quantization, 0)

    def rename(self, tensor: int, name: str) -> None:
        """Give a tensor a name in place of its number."""
        self._tensors[tensor].name = name

    def data(self, values: npt.NDArray[Any], quantization: Quantization | None = None) -> int:
        """Add a tensor that holds values: of type float32, int8 or int32."""
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._bytes += buffer.data.size + 2 * _ALIGNMENT
        self._buffers.append(buffer)
        return self._add(values.shape, values.dtype, quantization, len(self._buffers) - 1)

    def constant(self, values: npt.NDArray[Any], quantization: Quantization | None = None) -> int:
        """Return the tensor of a small constant, such as axes; equal ones are one."""
        key = (values.tobytes(), str(values.dtype), values.shape, quantization)
        if key not in self._constants:
            self._constants[key] = self.data(values, quantization)
        return self._constants[key]

    def operator(self, kind: Kind, inputs: Sequence[int], output: int, options: Any) -> int:
        """Add an operator; return the tensor of its output."""
        operator = schema.OperatorT()
        self._versions[kind.code] = max(kind.version, self._versions.get(kind.code, 0))
        operator.opcodeIndex = list(self._versions).index(kind.code)
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptionsType, operator.builtinOptions = kind.options, options
        self._operators.append(operator)
        return output

    def to_bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the file."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self._tensors, self._operators, "main"
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.description, model.subgraphs, model.buffers = _VERSION, "latency-harness", [graph], self._buffers
        model.operatorCodes = []
        for number, version in self._versions.items():
            code = schema.OperatorCodeT()
            code.deprecatedBuiltinCode, code.builtinCode, code.version = min(number, 127), number, version
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(self._bytes + (1 << 16))
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _add(self, shape: Sequence[int], dtype: np.dtype[Any], quantization: Quantization | None, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"t{len(self._tensors)}", list(shape), _TYPES[dtype], buffer
        if quantization is not None:
            parameters = schema.QuantizationParametersT()
            parameters.scale = np.array(quantization.scales, np.float32)
            parameters.zeroPoint = np.full(len(quantization.scales), quantization.zero_point, np.int64)
            parameters.quantizedDimension = quantization.axis
            tensor.quantization = parameters
        self._tensors.append(tensor)
        return len(self._tensors) - 1
