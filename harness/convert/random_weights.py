"""Random weights under which a network's activations keep their size from layer to layer, without running it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.networks import graph as g

Floats = npt.NDArray[np.float32]

LOGIT_DEVIATION = 2.0
"""The standard deviation of what goes into a softmax: its output is then neither flat nor a single one among zeros."""

_DEVIATIONS = {"softmax": LOGIT_DEVIATION, "hard_swish": 4.0}
"""Of what goes into an activation, 1 unless said here. A hard swish passes on a larger share of large values than of small ones: around 1
every deviation would grow from layer to layer, around 4 it hardly does."""

_INPUT = 1 / 3
"""The mean square of the input that both sides are given: uniform in [0, 1)."""

_AFTER = {"linear": 1.0, "relu": 0.5, "relu6": 0.5, "hard_swish": 7.84, "hard_sigmoid": 0.28, "sigmoid": 0.29, "softmax": 0.0}
"""The mean square after an activation, of normal numbers with the deviation above."""

_POOLED = {"average": 0.6, "max": 1.5}
_GLOBALLY_POOLED = 0.4
_LEAST = 1e-6
_POOL = 65_537


class RandomWeights:
    """Normal numbers scaled so that every convolution and dense layer of a graph gives values of one size, the same for the same seed.

    They are taken from one pool whose length is prime: drawing each anew would take longer than all else.
    """

    def __init__(self, graph: g.Graph, seed: int = 0) -> None:
        self._pool = _pool(seed)
        self._squares = mean_squares(graph)
        self._graph = graph

    def kernel(self, node: int, shape: tuple[int, ...], fan_in: int) -> Floats:
        """Return the kernel of the graph's node of this number."""
        operation, sources = self._graph.nodes[node].operation, self._graph.nodes[node].inputs
        wanted = _DEVIATIONS.get(getattr(operation, "activation", "linear"), 1.0)
        deviation = wanted / math.sqrt(fan_in * max(self._squares[sources[0]], _LEAST))
        size = math.prod(shape)
        start = node * 7919 % _POOL
        copies = -(-(start + size) // _POOL)
        return np.tile(self._pool * np.float32(deviation), copies)[start : start + size].reshape(shape)

    def bias(self, node: int, size: int) -> Floats:
        """Return small numbers of either sign."""
        return self._pool[(np.arange(size) + node) % _POOL] * np.float32(0.1)


@lru_cache(maxsize=8)
def _pool(seed: int) -> Floats:
    pool = np.random.default_rng(seed).standard_normal(_POOL, np.float32)
    pool.flags.writeable = False
    return pool


def mean_squares(graph: g.Graph) -> list[float]:
    """Return about what the mean square of the values at each position is, where weights are those of `RandomWeights`."""
    found = [_INPUT] * len(graph.inputs)
    for node in graph.nodes:
        found.append(_mean_square(node, [found[position] for position in node.inputs], [graph.shape(position) for position in node.inputs]))
    return found


Range = tuple[float, float]
"""The least and the greatest value that 8 bits are spread over; 0 lies between them."""

_DEVIATIONS_WIDE = 4.0
GATE = (0.0, 255 / 256)
"""What a sigmoid and a softmax give: TFLite fixes their scale to 1/256."""


def range_before(activation: g.Activation) -> Range:
    """Return the range of what goes into an activation."""
    wide = _DEVIATIONS_WIDE * _DEVIATIONS.get(activation, 1.0)
    return -wide, wide


def ranges(graph: g.Graph) -> list[Range]:
    """Return the range at each position, where weights are those of `RandomWeights`."""
    squares = mean_squares(graph)
    found: list[Range] = [(0.0, 1.0)] * len(graph.inputs)
    for position, node in enumerate(graph.nodes, len(graph.inputs)):
        found.append(_range(node, found, math.sqrt(squares[position])))
    return joined(graph, found)


def joined(graph: g.Graph, found: Sequence[Range]) -> list[Range]:
    """Return the ranges at each position, those together that 8-bit kernels want to be one.

    What an operator passes on unchanged (pooling, concatenation, padding) has one range on both sides of it.
    """
    group = list(range(len(found)))

    def first(position: int) -> int:
        while group[position] != position:
            position = group[position]
        return position

    for position, node in enumerate(graph.nodes, len(graph.inputs)):
        if isinstance(node.operation, _PASSING):
            for source in node.inputs:
                earlier, later = sorted((first(source), first(position)))
                group[later] = earlier
    widest = list(found)
    for position, (low, high) in enumerate(found):
        root = first(position)
        widest[root] = min(widest[root][0], low), max(widest[root][1], high)
    return [widest[first(position)] for position in range(len(found))]


_PASSING = (g.Pooling, g.Concatenate, g.Pad, g.Crop, g.Flatten, g.Dropout)


def _range(node: g.Node, found: Sequence[Range], deviation: float) -> Range:
    operation = node.operation
    activation: g.Activation = getattr(operation, "activation", "linear")
    if activation in ("sigmoid", "hard_sigmoid", "softmax"):
        return GATE
    if isinstance(operation, _PASSING):
        return found[node.inputs[0]]
    wide = _DEVIATIONS_WIDE * deviation
    if activation == "relu6":
        return 0.0, min(6.0, _DEVIATIONS_WIDE)
    if activation == "relu":
        return 0.0, math.sqrt(2) * wide
    if activation == "hard_swish":
        return -0.375, math.sqrt(2) * wide
    nonnegative = isinstance(operation, g.Multiply | g.GlobalPooling | g.Add) and all(found[source][0] == 0 for source in node.inputs)
    return (0.0 if nonnegative else -wide), wide


def _mean_square(node: g.Node, squares: Sequence[float], shapes: Sequence[g.Shape]) -> float:
    match node.operation:
        case g.Convolution(activation=activation) | g.DepthwiseConvolution(activation=activation) | g.Dense(activation=activation):
            return _AFTER[activation]
        case g.Activate(activation=activation):
            return squares[0] * _AFTER[activation]
        case g.Add(activation=activation):
            return sum(squares) * _AFTER[activation]
        case g.Multiply():
            return math.prod(squares)
        case g.Pooling(reduction=reduction):
            return squares[0] * _POOLED[reduction]
        case g.GlobalPooling():
            return squares[0] * _GLOBALLY_POOLED
        case g.Concatenate():
            return sum(square * shape[-1] for square, shape in zip(squares, shapes, strict=True)) / sum(shape[-1] for shape in shapes)
        case _:
            return squares[0]
