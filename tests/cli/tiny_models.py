"""The smallest model files that do what a test needs, written without TensorFlow."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_FLOAT = schema.TensorType.FLOAT32
_BOOL = schema.TensorType.BOOL
_INT = schema.TensorType.INT32


def add() -> bytes:
    """Return y = x + x over 8 floats: well under a microsecond."""
    return _model([_graph([_tensor("input", [1, 8]), _tensor("y", [1, 8])], _operator("Add", 0, [0, 0], [1]))], ["ADD"])


def dynamic() -> bytes:
    """Return y = x + x where the last dimension of `input` is dynamic; an open batch alone would be taken as 1."""
    tensors = [_tensor(name, [1, 8], signature=[1, -1]) for name in ("input", "y")]
    return _model([_graph(tensors, _operator("Add", 0, [0, 0], [1]))], ["ADD"])


def unresolved_custom_op() -> bytes:
    """Return a model whose one operator, NoSuchOp, no runtime knows."""
    return _model([_graph([_tensor("input", [1, 8]), _tensor("y", [1, 8])], _operator("", 0, [0], [1]))], ["NoSuchOp"])


def crashing() -> bytes:
    """Return a model that ends its process with SIGFPE: the least int32 modulo -1 is an overflow that x86's division traps."""
    tensors = [
        _tensor("input", [1], _INT),
        *(_tensor(name, [1], _INT, buffer) for name, buffer in (("a", 1), ("b", 2), ("r", 0), ("y", 0))),
    ]
    operators = [_operator("FloorMod", 0, [1, 2], [3]), _operator("Add", 1, [0, 3], [4])]
    constants = [np.array([value], np.int32).tobytes() for value in (-(2**31), -1)]
    return _model([_graph(tensors, *operators, output=4)], ["FLOOR_MOD", "ADD"], constants)


def hanging() -> bytes:
    """Return `while x == x: x = x * x`, which a number never leaves."""
    loop = _operator("While", 0, [0], [1])
    loop.builtinOptions.condSubgraphIndex, loop.builtinOptions.bodySubgraphIndex = 1, 2
    main = _graph([_tensor("input", [1]), _tensor("y", [1])], loop)
    condition = _graph([_tensor("x", [1]), _tensor("c", [1], _BOOL)], _operator("Equal", 1, [0, 0], [1]))
    body = _graph([_tensor("x", [1]), _tensor("y", [1])], _operator("Mul", 2, [0, 0], [1]))
    return _model([main, condition, body], ["WHILE", "EQUAL", "MUL"])


def custom_layer_keras(path: Path) -> None:
    """Write a Keras file of a layer that is not Keras's own."""
    with zipfile.ZipFile(path, "w") as archive:
        layer = {"module": None, "class_name": "Mine", "config": {"name": "mine"}, "registered_name": "Mine"}
        entrance = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 8]}, "registered_name": None}
        model = {"name": "sequential", "layers": [entrance, layer]}
        config = {"module": "keras", "class_name": "Sequential", "config": model, "registered_name": None}
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.12.0", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("model.weights.h5", b"")


def _tensor(name: str, shape: list[int], dtype: int = _FLOAT, buffer: int = 0, signature: list[int] | None = None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer, tensor.shapeSignature = name, shape, dtype, buffer, signature
    return tensor


def _operator(kind: str, code: int, inputs: list[int], outputs: list[int]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    if kind:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
        operator.builtinOptions = getattr(schema, f"{kind}OptionsT")()
    return operator


def _graph(tensors: list[Any], *operators: Any, output: int = 1) -> Any:
    graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.inputs, graph.outputs, graph.operators = "main", tensors, [0], [output], list(operators)
    return graph


def _model(graphs: list[Any], operators: Sequence[str], constants: Sequence[bytes] = ()) -> bytes:
    model = schema.ModelT()
    model.version, model.subgraphs = 3, graphs
    model.operatorCodes = [_code(name) for name in operators]
    model.buffers = [schema.BufferT() for _ in range(1 + len(constants))]
    for buffer, constant in zip(model.buffers[1:], constants, strict=True):
        buffer.data = np.frombuffer(constant, np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(name: str) -> Any:
    code = schema.OperatorCodeT()
    builtin = getattr(schema.BuiltinOperator, name, None)
    code.builtinCode = schema.BuiltinOperator.CUSTOM if builtin is None else builtin
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode = name if builtin is None else None
    return code
