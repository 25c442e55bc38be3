"""What a .tflite file is: precision, inputs, outputs and operators, read from its bytes alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.convert.flatbuffer import Graph, RawTensor, read_graphs
from harness.convert.model import Precision, Tensor
from harness.errors import ConfigError, ConversionError

MAX_BYTES = 2**31
"""A flatbuffer's offsets have 31 bits."""

# What the runtimes' own resolver registers under custom names (tensorflow/lite/core/kernels/register.cc).
_RESOLVED_CUSTOM = frozenset({"AudioSpectrogram", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess"})
_RANDOM = frozenset({"MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"})
_RESOURCE_VARIABLES = frozenset({"ASSIGN_VARIABLE", "READ_VARIABLE", "VAR_HANDLE"})
_CASTS = frozenset({"CAST", "DEQUANTIZE", "QUANTIZE"})
_QUANTIZED = frozenset({"int8", "uint8", "int16"})
_FEEDABLE = frozenset({"bool", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "uint16", "uint32", "uint64", "uint8"})
_WEIGHT_BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "uint8": 1.0, "int4": 0.5, "int2": 0.25}


@dataclass(frozen=True)
class Inspection:
    """What a .tflite file holds. Dimensions are -1 where the caller must choose them.

    `quantization` has the (scale, zero point) of each input, (0.0, 0) where it is not quantised; `default_shapes` are the shapes that
    the inputs have when nobody chooses.
    """

    sha256: str
    size_bytes: int
    precision: Precision
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    quantization: tuple[tuple[float, int], ...]
    default_shapes: tuple[tuple[int, ...], ...]
    random: bool
    resource_variables: bool


def inspect(path: Path, name: str | None = None) -> Inspection:
    """Return what the file holds; `name` is what messages call it.

    Raises ConfigError where the file cannot be read, ConversionError where it is not a sound .tflite file or has an operator that no
    runtime knows.
    """
    name = name or str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConversionError(f"{name}: larger than the 2 GiB that a .tflite file can be", "Convert the model to a smaller precision.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file", "Check the path.") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror})", "Pass a .tflite file that you may read.") from error
    graphs = read_graphs(data, name)
    main = graphs[0]
    operators = {operator.name for graph in graphs for operator in graph.operators}
    custom = sorted({operator.name for graph in graphs for operator in graph.operators if operator.custom})
    if not main.outputs or not main.operators:
        raise ConversionError(f"{name}: the model computes nothing", "It has no operators or no outputs: convert it again.")
    _check_custom(name, [operator for operator in custom if operator not in _RESOLVED_CUSTOM])
    inputs = [main.tensors[index] for index in main.inputs]
    for tensor in inputs:
        if tensor.dtype not in _FEEDABLE:
            raise ConversionError(
                f"{name}: input {tensor.name!r} takes {tensor.dtype} values", "Only numbers and booleans can be fed to a model."
            )
    return Inspection(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        precision=_precision(graphs),
        inputs=tuple(_tensor(tensor) for tensor in inputs),
        outputs=tuple(_tensor(main.tensors[index]) for index in main.outputs),
        quantization=tuple((tensor.scale, tensor.zero_point) for tensor in inputs),
        default_shapes=tuple(tensor.shape for tensor in inputs),
        random=not _RANDOM.isdisjoint(operators),
        resource_variables=not _RESOURCE_VARIABLES.isdisjoint(operators),
    )


def _tensor(tensor: RawTensor) -> Tensor:
    return Tensor(tensor.name, tensor.signature, tensor.dtype)


def _check_custom(name: str, unknown: list[str]) -> None:
    if not unknown:
        return
    what = "operator" if len(unknown) == 1 else "operators"
    hint = "No runtime here has it: convert the model with built-in operators only (TFLITE_BUILTINS)."
    if any(operator.startswith("Flex") for operator in unknown):
        hint = "It was converted with SELECT_TF_OPS, which needs TensorFlow on the device: convert it with TFLITE_BUILTINS only."
    raise ConversionError(f"{name}: custom {what} {', '.join(unknown)}", hint)


def _precision(graphs: tuple[Graph, ...]) -> Precision:
    """Return int8 where most operators compute on quantised values; else the format that most weights are stored in."""
    quantized = floating = 0
    weights: Counter[str] = Counter()
    for graph in graphs:
        for operator in graph.operators:
            if operator.name in _CASTS:
                continue
            computed = [graph.tensors[index] for index in operator.outputs if index >= 0]
            if any(tensor.dtype in _QUANTIZED and tensor.scale for tensor in computed):
                quantized += 1
            elif any(tensor.dtype in {"float32", "float16"} for tensor in computed):
                floating += 1
        for tensor in graph.tensors:
            if tensor.constant_bytes and tensor.dtype in _WEIGHT_BYTES:
                weights[tensor.dtype] += round(tensor.constant_bytes / _WEIGHT_BYTES[tensor.dtype])
    if quantized and quantized >= floating:
        return "int8"
    small = sum(count for dtype, count in weights.items() if dtype not in {"float32", "float16"})
    if small > weights["float32"] + weights["float16"]:
        return "dynamic"
    return "float16" if weights["float16"] > weights["float32"] else "float32"
