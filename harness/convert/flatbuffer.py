"""The bytes of a .tflite file as graphs of tensors and operators, read without any runtime.

Files come from anywhere, so every count and index in them is held against the size of the file before it is followed: reading a
damaged file ends in a `ConversionError`, in time linear in its size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from harness.errors import ConversionError

IDENTIFIER = b"TFL3"

# flatbuffers reads wherever an offset points: these are what damaged offsets, lengths and enum values raise in it, and in the checks here.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError)


def _numbers_to_names(enum: type) -> dict[int, str]:
    return {number: name for name, number in vars(enum).items() if isinstance(number, int)}


_OPERATORS = _numbers_to_names(schema.BuiltinOperator)
_DTYPES = {number: name.lower() for number, name in _numbers_to_names(schema.TensorType).items()}


@dataclass(frozen=True)
class RawTensor:
    """A tensor as the file has it. `constant_bytes` is 0 where it is computed; `scale` is 0 where it is not quantised."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    constant_bytes: int
    scale: float
    zero_point: int
    is_variable: bool


@dataclass(frozen=True)
class RawOperator:
    """An operator: its name (a custom one's own name, then `custom` is True) and the indices of its tensors (-1: left out)."""

    name: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A subgraph; the first one of a file is the model, others are bodies of its control flow."""

    tensors: tuple[RawTensor, ...]
    operators: tuple[RawOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graphs(data: bytes, where: str) -> tuple[Graph, ...]:
    """Return the graphs in `data`, at least one; raises ConversionError, naming `where`, if the bytes are not a sound .tflite file."""
    hint = "The file is damaged or incomplete: copy or convert it again."
    if not data:
        raise ConversionError(f"{where}: the file is empty", hint)
    if data[4:8] != IDENTIFIER:
        raise ConversionError(
            f"{where}: not a .tflite file (its identifier is missing)", "Pass a file that a TensorFlow Lite or LiteRT converter wrote."
        )
    try:
        return _Reader(data).graphs()
    except _DAMAGE as error:
        raise ConversionError(f"{where}: not a sound .tflite file ({str(error) or type(error).__name__})", hint) from error


class _Reader:
    """Walks the tables of one file and counts what it visits."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        # Tables may share offsets, so a small damaged file can describe a huge tree. A sound file spends 4 bytes an element.
        self.budget = self.size
        self.model = schema.Model.GetRootAs(data, 0)

    def graphs(self) -> tuple[Graph, ...]:
        self.buffers = [self._buffer(buffer) for buffer in self._tables(self.model.BuffersLength(), self.model.Buffers)]
        self.codes = [self._code(code) for code in self._tables(self.model.OperatorCodesLength(), self.model.OperatorCodes)]
        graphs = tuple(self._graph(graph) for graph in self._tables(self.model.SubgraphsLength(), self.model.Subgraphs))
        if not graphs:
            raise ValueError("it holds no graph")
        return graphs

    def _spend(self, count: int, width: int) -> None:
        self.budget -= count
        if count < 0 or count * width > self.size or self.budget < 0:
            raise ValueError("a list in it is longer than the file")

    def _tables(self, count: int, get: Callable[[int], Any]) -> Iterator[Any]:
        self._spend(count, 4)
        for index in range(count):
            table = get(index)
            if table is None or not 0 <= table._tab.Pos < self.size:  # noqa: SLF001 - the position has no public name
                raise ValueError("an entry lies outside the file")
            yield table

    def _integers(self, count: int, get: Callable[[int], Any]) -> tuple[int, ...]:
        self._spend(count, 4)
        return tuple(int(get(index)) for index in range(count))

    def _text(self, raw: bytes | None) -> str:
        return (raw or b"").decode("utf-8", "replace")

    def _buffer(self, buffer: Any) -> int:
        if buffer.Offset() > 1:  # how files beyond 2 GiB keep their data: after the tables
            if buffer.Offset() + buffer.Size() > self.size:
                raise ValueError("weights lie beyond its end")
            return int(buffer.Size())
        if buffer.DataIsNone():
            return 0
        # Reading the vector checks that it ends within the file: this is what finds a truncated one.
        return int(buffer.DataAsNumpy().size)

    def _code(self, code: Any) -> tuple[str, bool]:
        # Files from before operator 127 have only the older field; newer ones have both, the older capped.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            return self._text(code.CustomCode()) or "(a custom operator without a name)", True
        if number not in _OPERATORS:
            raise ValueError(f"operator {number} does not exist")
        return _OPERATORS[number], False

    def _graph(self, graph: Any) -> Graph:
        tensors = tuple(self._tensor(tensor) for tensor in self._tables(graph.TensorsLength(), graph.Tensors))
        operators = tuple(self._operator(operator, len(tensors)) for operator in self._tables(graph.OperatorsLength(), graph.Operators))
        inputs = self._indices(graph.InputsLength(), graph.Inputs, len(tensors), optional=False)
        outputs = self._indices(graph.OutputsLength(), graph.Outputs, len(tensors), optional=False)
        return Graph(tensors, operators, inputs, outputs)

    def _indices(self, count: int, get: Callable[[int], Any], tensors: int, *, optional: bool) -> tuple[int, ...]:
        indices = self._integers(count, get)
        if any(not (-1 if optional else 0) <= index < tensors for index in indices):
            raise ValueError("it uses a tensor that does not exist")
        return indices

    def _operator(self, operator: Any, tensors: int) -> RawOperator:
        if not 0 <= operator.OpcodeIndex() < len(self.codes):
            raise ValueError("it uses an operator that does not exist")
        name, custom = self.codes[operator.OpcodeIndex()]
        inputs = self._indices(operator.InputsLength(), operator.Inputs, tensors, optional=True)
        return RawOperator(name, custom, inputs, self._indices(operator.OutputsLength(), operator.Outputs, tensors, optional=True))

    def _tensor(self, tensor: Any) -> RawTensor:
        if tensor.Type() not in _DTYPES:
            raise ValueError(f"tensor type {tensor.Type()} does not exist")
        if not 0 <= tensor.Buffer() < max(len(self.buffers), 1):
            raise ValueError("it uses weights that do not exist")
        shape = self._integers(tensor.ShapeLength(), tensor.Shape)
        signature = self._integers(tensor.ShapeSignatureLength(), tensor.ShapeSignature) or shape
        if len(signature) != len(shape) or any(dim < -1 for dim in (*shape, *signature)):
            raise ValueError("a tensor's shape makes no sense")
        quantization = tensor.Quantization()
        quantized = quantization is not None and quantization.ScaleLength() > 0
        return RawTensor(
            name=self._text(tensor.Name()),
            dtype=_DTYPES[tensor.Type()],
            shape=shape,
            signature=signature,
            constant_bytes=self.buffers[tensor.Buffer()] if self.buffers else 0,
            scale=float(quantization.Scale(0)) if quantized else 0.0,
            zero_point=int(quantization.ZeroPoint(0)) if quantized and quantization.ZeroPointLength() else 0,
            is_variable=bool(tensor.IsVariable()),
        )
