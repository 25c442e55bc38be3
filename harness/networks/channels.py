"""Which channels of a network live and die together, and the network with fewer of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks import graph as g
from harness.networks.foreign import Foreign, Norm

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FIXED = -1
"""The number of a channel that stays: of what a network reads and tells, and of what is not known to do without it."""

_EACH_FOR_ITSELF = (g.Pooling, g.GlobalPooling, g.Activate, g.Dropout, g.Pad, g.Crop, Norm)


@dataclass(frozen=True)
class Group:
    """Channels of which each can go by itself, but wherever it is: in the outputs of all `producers`, and of what passes them on.

    `producers` are positions in the graph of the convolutions and dense layers that make them; `channels` counts them.
    """

    producers: tuple[int, ...]
    channels: int


class Channels:
    """The channels of a graph: which group each belongs to, at every position.

    A residual addition, a gate of squeeze-and-excitation and a depthwise convolution tie the channels of what they read; a concatenation
    keeps them apart. Channels of the graph's inputs and of its output stay, as do those around a grouped convolution, a softmax and an
    operation that is not known.
    """

    def __init__(self, graph: g.Graph, output: int) -> None:
        self.graph = graph
        self._parents: list[int] = []
        self._producers: list[int] = []
        self._frozen: set[int] = set()
        made = [np.full(shape[-1], FIXED) for shape in graph.inputs]
        for node in graph.nodes:
            made.append(self._output(len(made), node, [made[source] for source in node.inputs]))
            if getattr(node.operation, "activation", "") == "softmax":
                self._freeze(made[-1])
        self._freeze(made[output])
        frozen = {self._root(one) for one in self._frozen}
        tied: dict[int, set[int]] = {}
        for one in range(len(self._parents)):
            tied.setdefault(self._root(one), set()).add(self._producers[one])
        by_producers: dict[tuple[int, ...], list[int]] = {}
        for root, producers in tied.items():
            if root not in frozen:
                by_producers.setdefault(tuple(sorted(producers)), []).append(root)
        self.groups = tuple(Group(producers, len(roots)) for producers, roots in by_producers.items())
        numbers = np.full(len(self._parents) + 1, FIXED)  # the last one is what FIXED leads to
        self._places = np.zeros((len(self._parents) + 1, 2), dtype=np.int64)
        for number, roots in enumerate(by_producers.values()):
            for index, root in enumerate(roots):
                numbers[root] = number
                self._places[root] = number, index
        roots_of = np.array([self._root(one) for one in range(len(self._parents))] + [len(self._parents)], dtype=np.int64)
        self._roots = [roots_of[ids] for ids in made]
        self._numbers = [numbers[roots] for roots in self._roots]

    def kept_at(self, position: int, kept: Mapping[int, Mask]) -> Mask:
        """Return which channels at a position [channels] are left where of some groups only some are `kept`."""
        left = np.ones(len(self._roots[position]), dtype=np.bool_)
        for number, mask in kept.items():
            here = self._numbers[position] == number
            left[here] = mask[self._places[self._roots[position][here], 1]]
        return left

    def of_group(self, number: int, position: int, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the sum of `values` at a position [channels] over each channel of a group [channels of the group]."""
        here = self._numbers[position] == number
        places = self._places[self._roots[position][here], 1]
        return np.asarray(np.bincount(places, values[here], self.groups[number].channels), dtype=np.float64)

    @cached_property
    def shares(self) -> tuple[dict[int, int], ...]:
        """How often each channel of a group occurs at each position: once, or more behind a flattening. FIXED counts those that stay."""
        found = []
        for numbers in self._numbers:
            values, counts = np.unique(numbers, return_counts=True)
            sizes = {FIXED: 1, **{number: group.channels for number, group in enumerate(self.groups)}}
            found.append({int(value): int(count) // sizes[int(value)] for value, count in zip(values, counts, strict=True)})
        return tuple(found)

    def width_at(self, position: int, widths: Sequence[int]) -> int:
        """Return the number of channels at a position where the groups have these widths."""
        return width_among(self.shares[position], widths)

    def resized(self, widths: Sequence[int]) -> g.Graph:
        """Return the graph in which the groups have these widths; positions stay the same. Raises ConfigError for a width below 1."""
        if len(widths) != len(self.groups) or min(widths, default=1) < 1:
            raise ConfigError(f"widths {list(widths)} are none of {len(self.groups)} groups of channels", "each keeps one channel or more")
        graph = g.Graph(*self.graph.inputs)
        for position, node in enumerate(self.graph.nodes, len(graph.inputs)):
            operation, width = node.operation, self.width_at(position, widths)
            if isinstance(operation, g.Convolution):
                operation = replace(operation, filters=width)
            elif isinstance(operation, g.Dense):
                operation = replace(operation, units=width)
            graph.add(operation, *node.inputs)
        return graph

    def _output(self, position: int, node: g.Node, sources: Sequence[Numbers]) -> Numbers:
        operation = node.operation
        match operation:
            case g.Convolution(groups=1) | g.Dense():
                return self._new(position, node.output[-1])
            case g.DepthwiseConvolution():
                return np.repeat(sources[0], operation.multiplier)
            case g.Flatten():
                return np.tile(sources[0], node.output[-1] // len(sources[0]))
            case g.Concatenate():
                return np.concatenate(sources)
            case g.Add() | g.Multiply() | Foreign(keeps_channels=True):
                first, *others = sources
                for other in others:
                    self._tie(first, other)
                return first
            case _ if isinstance(operation, _EACH_FOR_ITSELF):
                return sources[0]
            case _:
                for source in sources:
                    self._freeze(source)
                return np.full(node.output[-1], FIXED)

    def _new(self, position: int, count: int) -> Numbers:
        start = len(self._parents)
        self._parents += range(start, start + count)
        self._producers += [position] * count
        return np.arange(start, start + count)

    def _tie(self, ones: Numbers, others: Numbers) -> None:
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            if FIXED in (one, other):
                self._frozen.update({one, other} - {FIXED})
            else:
                self._parents[self._root(other)] = self._root(one)

    def _freeze(self, ids: Numbers) -> None:
        self._frozen.update(set(ids.tolist()) - {FIXED})

    def _root(self, one: int) -> int:
        while self._parents[one] != one:
            self._parents[one] = self._parents[self._parents[one]]
            one = self._parents[one]
        return one


def width_among(shares: Mapping[int, int], widths: Sequence[int]) -> int:
    """Return how many channels stand where those of each group occur so often, see `Channels.shares`."""
    return sum(times * (1 if number == FIXED else widths[number]) for number, times in shares.items())
