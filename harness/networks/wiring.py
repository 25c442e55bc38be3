"""Blocks that join several values: parallel branches, convolutions on chosen earlier outputs, NASNet's cells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from harness.errors import ConfigError
from harness.networks.blocks import Block, Size
from harness.networks.graph import (
    Activate,
    Activation,
    Add,
    Concatenate,
    Convolution,
    Crop,
    DepthwiseConvolution,
    Graph,
    Pad,
    Pooling,
    feature_map,
)
from harness.tomlfile import FieldError


@dataclass(frozen=True)
class Branches(Block):
    """Chains of blocks on one input, their outputs concatenated (Inception). A chain without blocks passes the input on."""

    type: ClassVar[str] = "branches"
    branches: tuple[tuple[Block, ...], ...]

    def __post_init__(self) -> None:
        if not self.branches:
            raise FieldError("branches are []", "write at least one chain of blocks", "branches")

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add all chains and the concatenation."""
        ends = []
        for chain in self.branches:
            made = inputs[0]
            for block in chain:
                made = block.expand(graph, made)
            ends.append(made)
        return graph.add(Concatenate(), *ends) if len(ends) > 1 else ends[0]


@dataclass(frozen=True)
class SkipConv(Block):
    """A convolution on several earlier outputs, concatenated (Zoph and Le 2017, section 3.3); smaller ones are padded with zeros.

    `inputs` are positions: 0 is the network's input, i the output of block i - 1.
    """

    type: ClassVar[str] = "skip_conv"
    filters: int
    kernel: Size
    inputs: tuple[int, ...] = field(metadata={"in_key": False})
    stride: Size = (1, 1)
    activation: Activation = "relu"

    def reads(self, position: int) -> tuple[int, ...]:
        """Return its inputs."""
        return earlier(self.inputs, position)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the concatenation and the convolution, whose stride is no more than what it strides over: a candidate may ask for any."""
        source = gather(graph, inputs)
        height, width, _ = feature_map(graph.shape(source), "a convolution")
        stride = min(self.stride[0], height), min(self.stride[1], width)
        return graph.add(Convolution(self.filters, self.kernel, stride, activation=self.activation), source)


@dataclass(frozen=True)
class Gather(Block):
    """Several earlier outputs concatenated, smaller ones padded with zeros; `inputs` as of SkipConv."""

    type: ClassVar[str] = "gather"
    inputs: tuple[int, ...] = field(metadata={"in_key": False})

    def reads(self, position: int) -> tuple[int, ...]:
        """Return its inputs."""
        return earlier(self.inputs, position)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the concatenation."""
        return gather(graph, inputs)


def earlier(inputs: tuple[int, ...], position: int) -> tuple[int, ...]:
    """Return what a block at a position reads; raises ConfigError where that comes later, or is nothing."""
    later = [one for one in inputs if not 0 <= one <= position]
    if later or not inputs:
        raise ConfigError(f"inputs {list(inputs)} are not earlier outputs", f"give positions from 0, the network's input, to {position}")
    return inputs


def gather(graph: Graph, inputs: tuple[int, ...]) -> int:
    """Add what makes one feature map of several: zeros below and to the right of smaller ones, then the concatenation."""
    if len(inputs) == 1:
        return inputs[0]
    sizes = [feature_map(graph.shape(one), "a concatenation of earlier outputs")[:2] for one in inputs]
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    padded = []
    for one, size in zip(inputs, sizes, strict=True):
        rows, columns = height - size[0], width - size[1]
        padded.append(graph.add(Pad((0, rows), (0, columns)), one) if rows or columns else one)
    return graph.add(Concatenate(), *padded)


_TERM = re.compile(r"(?:(sep|avg|max)([357]) )?(h|p|[0-9])")


@dataclass(frozen=True)
class Cell(Block):
    """A cell of NASNet (Zoph et al. 2018): sums of two terms each on the two outputs before it, and which of them are concatenated.

    `h` is the output before, `p` the one before that, both brought to `filters` channels by a 1x1 convolution; a number is an earlier
    sum. `sep5 h + sep3 p` adds two separable convolutions, each applied twice; `avg3`, `max3` pool, a bare input is passed on. Terms on
    `h` and `p` have the cell's stride. With `inputs = 1`, as in the first cell, `p` is the output before as it is.
    """

    type: ClassVar[str] = "cell"
    filters: int
    sums: tuple[str, ...]
    concat: tuple[str, ...]
    stride: Size = (1, 1)
    inputs: int = field(default=2, metadata={"in_key": False})

    def __post_init__(self) -> None:
        for position, text in enumerate(self.sums):
            terms = [_TERM.fullmatch(term.strip()) for term in text.split("+")]
            if len(terms) != 2 or not all(term and (not term[3].isdigit() or int(term[3]) < position) for term in terms):
                hint = 'write two terms on h, p or an earlier sum, such as "sep5 h + avg3 p"'
                raise FieldError(f"{text!r} is no sum of a cell", hint, "sums")
        known = {"h", "p", *(str(position) for position in range(len(self.sums)))}
        if not self.concat or not known.issuperset(self.concat):
            raise FieldError(f"{list(self.concat)} cannot be concatenated", f"known are {', '.join(sorted(known))}", "concat")
        if self.inputs not in (1, 2):
            raise FieldError(f"inputs of a cell are {self.inputs}", "write 1 or 2", "inputs")

    def reads(self, position: int) -> tuple[int, ...]:
        """Return the last output and, with two inputs, the one before."""
        if self.inputs == 1:
            return (position,)
        if position == 0:
            raise ConfigError("a cell with two inputs cannot be the first block", "write inputs = 1")
        return (position, position - 1)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add all sums and their concatenation."""

        def separable(position: int, size: int, stride: Size) -> int:
            for step in (stride, (1, 1)):
                rectified = graph.add(Activate("relu"), position)
                depthwise = graph.add(DepthwiseConvolution((size, size), step, norm=False, bias=False), rectified)
                position = graph.add(Convolution(self.filters, (1, 1)), depthwise)
            return position

        def term(text: str, known: dict[str, int]) -> int:
            match = _TERM.fullmatch(text.strip())
            assert match is not None
            source, stride = known[match[3]], (1, 1) if match[3].isdigit() else self.stride
            if match[1] is None:
                return source
            size = int(match[2])
            if match[1] == "sep":
                return separable(source, size, stride)
            return graph.add(Pooling("average" if match[1] == "avg" else "max", (size, size), stride), source)

        last, before = inputs[0], inputs[-1]
        reduced = graph.add(Convolution(self.filters, (1, 1)), graph.add(Activate("relu"), last))
        known = {"h": reduced, "p": self._adjusted(graph, before, last)}
        for position, text in enumerate(self.sums):
            first, second = (term(part, known) for part in text.split("+"))
            known[str(position)] = graph.add(Add(), first, second)
        ends = [known[name] for name in self.concat]
        return graph.add(Concatenate(), *ends) if len(ends) > 1 else ends[0]

    def _adjusted(self, graph: Graph, before: int, last: int) -> int:
        """Bring the output before the last to this cell's size and filters (a factorized reduction where it is larger)."""
        if before == last:
            return before
        rectified = graph.add(Activate("relu"), before)
        if graph.shape(before)[:2] != graph.shape(last)[:2]:
            half = self.filters // 2
            even = graph.add(Convolution(half, (1, 1), (2, 2)), rectified)
            shifted = graph.add(Crop(1, 1), graph.add(Pad((0, 1), (0, 1)), rectified))
            odd = graph.add(Convolution(self.filters - half, (1, 1), (2, 2)), shifted)
            return graph.add(Concatenate(), even, odd)
        if graph.shape(before)[-1] != self.filters:
            return graph.add(Convolution(self.filters, (1, 1)), rectified)
        return before
