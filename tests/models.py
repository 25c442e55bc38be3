"""Small .tflite files whose work is known."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from tests.cli import tiny_models


def sigmoids(count: int, values: int = 16_384) -> bytes:
    """Return `count` sigmoids in a row over `values` floats: the time they take is in proportion to `count`."""
    tensors = [tiny_models._tensor(f"t{index}", [1, values]) for index in range(count + 1)]
    operators = [tiny_models._operator("", 0, [index], [index + 1]) for index in range(count)]
    return tiny_models._model([tiny_models._graph(tensors, *operators, output=count)], ["LOGISTIC"])


def endless() -> bytes:
    """Return a loop that a number never leaves, beside a random operator: so nobody computes its outputs to compare with."""
    loop = tiny_models._operator("While", 0, [0], [1])
    loop.builtinOptions.condSubgraphIndex, loop.builtinOptions.bodySubgraphIndex = 1, 2
    random = tiny_models._operator("Random", 3, [2], [3])
    tensors = [
        tiny_models._tensor("input", [1]),
        tiny_models._tensor("y", [1]),
        tiny_models._tensor("shape", [1], schema.TensorType.INT32, 1),
        tiny_models._tensor("r", [1]),
    ]
    main = tiny_models._graph(tensors, random, loop)
    pair = [tiny_models._tensor("x", [1]), tiny_models._tensor("c", [1], schema.TensorType.BOOL)]
    condition = tiny_models._graph(pair, tiny_models._operator("Equal", 1, [0, 0], [1]))
    floats = [tiny_models._tensor("x", [1]), tiny_models._tensor("y", [1])]
    body = tiny_models._graph(floats, tiny_models._operator("Mul", 2, [0, 0], [1]))
    return tiny_models._model([main, condition, body], ["WHILE", "EQUAL", "MUL", "RANDOM_UNIFORM"], [b"\1\0\0\0"])
