"""The blocks that networks are made of, as data. A block on its inputs' shapes is what a latency table times."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import ClassVar, Literal

from harness.networks.graph import (
    Activate,
    Activation,
    Add,
    Convolution,
    Costs,
    Dense,
    DepthwiseConvolution,
    Dropout,
    Flatten,
    GlobalPooling,
    Graph,
    Multiply,
    Padding,
    Pooling,
    Reduction,
    Shape,
    text_of,
)

Size = tuple[int, int]
"""Height and width; in a file one number stands for both."""

Skip = Literal["identity", "pool", "none"]
"""What is added to a block's output where the shapes allow: its input, its input averaged over 3x3 places, or nothing."""

_SHORT = {
    "kernel": "k",
    "stride": "s",
    "filters": "f",
    "units": "u",
    "expansion": "e",
    "se": "se",
    "groups": "g",
    "multiplier": "m",
    "gate": "gate:",
    "output_activation": "output:",
}
"""What stands before a field's value in a key. Other texts stand alone: no two of a block's fields have one in common."""


def divisible(value: float, divisor: int = 8) -> int:
    """Return the nearest multiple of `divisor`, but no less than 90% of `value` (MobileNetV2's rounding of widths)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


@dataclass(frozen=True)
class Block:
    """One block of a network; subclasses say which operations it is made of."""

    type: ClassVar[str]

    def reads(self, position: int) -> tuple[int, ...]:
        """Return which outputs it reads as the block at `position`: 0 is the network's input, i the output of block i - 1."""
        return (position,)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the block's operations to a graph, on the values at these positions; return the position of its output."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """What the block is, in short: `mbconv-f40-k5-s2-e6-se0.25`. Fields at their defaults are left out: new ones keep old keys."""
        parts = [self.type]
        for one in fields(self):
            value = getattr(self, one.name)
            if one.metadata.get("in_key", True) and (one.default is MISSING or value != one.default):
                parts.append(_SHORT.get(one.name, "" if isinstance(value, str) else f"{one.name}:") + _short(value))
        return "-".join(parts)


def _short(value: object) -> str:
    if isinstance(value, Block):
        return value.key
    if isinstance(value, tuple):
        if len(value) == 2 and all(isinstance(item, int) for item in value):
            return str(value[0]) if value[0] == value[1] else f"{value[0]}x{value[1]}"
        return f"({','.join(map(_short, value))})"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).lower()


@lru_cache(maxsize=100_000)
def block_costs(block: Block, shapes: tuple[Shape, ...]) -> tuple[Shape, Costs]:
    """Return the shape of a block's output and what it costs, on inputs of these shapes; raises ConfigError for shapes it cannot take."""
    graph, output = block_graph(block, shapes)
    return graph.shape(output), graph.costs()


def block_graph(block: Block, shapes: tuple[Shape, ...]) -> tuple[Graph, int]:
    """Return the operations of a block on inputs of these shapes, and the position of its output."""
    graph = Graph(*shapes)
    return graph, block.expand(graph, *range(len(shapes)))


@lru_cache(maxsize=100_000)
def block_key(block: Block, shapes: tuple[Shape, ...]) -> str:
    """Return the block's key with the shapes of its inputs: what two networks that share a row of a latency table have in common."""
    return f"{block.key}@{'+'.join(map(text_of, shapes))}"


@dataclass(frozen=True)
class Conv(Block):
    """A convolution with batch norm, or a bias where not `norm`, then squeeze-and-excitation and skip where asked for."""

    type: ClassVar[str] = "conv"
    filters: int
    kernel: Size = (1, 1)
    stride: Size = (1, 1)
    padding: Padding = "same"
    groups: int = 1
    norm: bool = True
    activation: Activation = "linear"
    se: float = 0.0
    skip: Skip = "none"

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add one convolution."""
        (source,) = inputs
        made = graph.add(Convolution(self.filters, self.kernel, self.stride, self.padding, self.groups, self.norm, self.activation), source)
        made = squeeze_and_excite(graph, made, int(graph.shape(source)[-1] * self.se), "sigmoid") if self.se else made
        return add_skip(graph, made, source, self.skip, self.stride)


@dataclass(frozen=True)
class Depthwise(Block):
    """A depthwise convolution with batch norm, or a bias where not `norm`; with `norm` no bias is trained, whatever `bias` is."""

    type: ClassVar[str] = "depthwise"
    kernel: Size
    stride: Size = (1, 1)
    padding: Padding = "same"
    multiplier: int = 1
    norm: bool = True
    activation: Activation = "linear"
    bias: bool = True

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add one depthwise convolution."""
        return graph.add(
            DepthwiseConvolution(self.kernel, self.stride, self.padding, self.multiplier, self.norm, self.bias, self.activation), *inputs
        )


@dataclass(frozen=True)
class Separable(Block):
    """A depthwise convolution, then a pointwise one, both with batch norm; where not `inner` nothing is between the two."""

    type: ClassVar[str] = "separable"
    filters: int
    kernel: Size
    stride: Size = (1, 1)
    multiplier: int = 1
    inner: bool = True
    activation: Activation = "linear"
    output_activation: Activation = "linear"
    se: float = 0.0
    skip: Skip = "none"

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add both convolutions."""
        (source,) = inputs
        inner = self.activation if self.inner else "linear"
        made = graph.add(
            DepthwiseConvolution(self.kernel, self.stride, "same", self.multiplier, self.inner, self.inner, inner),
            source,
        )
        made = squeeze_and_excite(graph, made, int(graph.shape(source)[-1] * self.se), "sigmoid") if self.se else made
        made = graph.add(Convolution(self.filters, (1, 1), activation=self.output_activation), made)
        return add_skip(graph, made, source, self.skip, self.stride)


@dataclass(frozen=True)
class MBConv(Block):
    """An inverted bottleneck (Sandler et al. 2018): expand, depthwise, squeeze and excite, project, add the input where shapes agree.

    `expansion` multiplies the input's channels; a fractional one is rounded to a multiple of 8 (MobileNetV3). `se` is the share of the
    channels of `se_of` that the squeeze keeps (MnasNet: of the block's input; MobileNetV3: of the expanded ones, in multiples of 8).
    """

    type: ClassVar[str] = "mbconv"
    filters: int
    kernel: Size = (3, 3)
    stride: Size = (1, 1)
    expansion: float = 1.0
    se: float = 0.0
    se_of: Literal["input", "expanded"] = "input"
    gate: Activation = "sigmoid"
    activation: Activation = "relu"
    skip: Skip = "identity"

    def expanded(self, channels: int) -> int:
        """Return the channels between expansion and projection."""
        exact = channels * self.expansion
        return int(exact) if self.expansion == int(self.expansion) else divisible(exact)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add up to three convolutions."""
        (source,) = inputs
        channels = graph.shape(source)[-1]
        middle = self.expanded(channels)
        made = source
        if self.expansion != 1:
            made = graph.add(Convolution(middle, (1, 1), activation=self.activation), made)
        made = graph.add(DepthwiseConvolution(self.kernel, self.stride, activation=self.activation), made)
        if self.se:
            squeezed = int(channels * self.se) if self.se_of == "input" else divisible(middle * self.se)
            made = squeeze_and_excite(graph, made, squeezed, self.gate)
        made = graph.add(Convolution(self.filters, (1, 1)), made)
        return add_skip(graph, made, source, self.skip, self.stride)


def squeeze_and_excite(graph: Graph, source: int, squeezed: int, gate: Activation) -> int:
    """Add squeeze-and-excitation (Hu et al. 2018): each channel scaled by a gate that sees the average of all."""
    made = graph.add(GlobalPooling(keep=True), source)
    made = graph.add(Convolution(max(1, squeezed), (1, 1), norm=False, activation="relu"), made)
    made = graph.add(Convolution(graph.shape(source)[-1], (1, 1), norm=False, activation=gate), made)
    return graph.add(Multiply(), source, made)


def add_skip(graph: Graph, made: int, source: int, skip: Skip, stride: Size) -> int:
    """Add the shortcut from `source` where it fits the output: the input itself, or its average over 3x3 places at the block's stride."""
    if skip == "pool" and graph.shape(made)[-1] == graph.shape(source)[-1]:
        return graph.add(Add(), graph.add(Pooling("average", (3, 3), stride), source), made)
    if skip == "identity" and graph.shape(made) == graph.shape(source):
        return graph.add(Add(), source, made)
    return made


@dataclass(frozen=True)
class Bottleneck(Block):
    """ResNet's bottleneck (He et al. 2016): 1x1, 3x3, 1x1 convolutions, four times as many filters in the last, and a shortcut.

    The first convolution has the stride, as in the paper. Where shapes differ the shortcut is a 1x1 convolution.
    """

    type: ClassVar[str] = "bottleneck"
    filters: int
    stride: Size = (1, 1)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add three convolutions, and that of the shortcut."""
        (source,) = inputs
        made = graph.add(Convolution(self.filters, (1, 1), self.stride, activation="relu"), source)
        made = graph.add(Convolution(self.filters, (3, 3), activation="relu"), made)
        made = graph.add(Convolution(4 * self.filters, (1, 1)), made)
        shortcut = source
        if graph.shape(made) != graph.shape(source):
            shortcut = graph.add(Convolution(4 * self.filters, (1, 1), self.stride), source)
        return graph.add(Add("relu"), shortcut, made)


@dataclass(frozen=True)
class Pool(Block):
    """A pooling layer."""

    type: ClassVar[str] = "pool"
    reduction: Reduction
    kernel: Size
    stride: Size = (1, 1)
    padding: Padding = "same"

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add one pooling operation."""
        return graph.add(Pooling(self.reduction, self.kernel, self.stride, self.padding), *inputs)


@dataclass(frozen=True)
class GlobalPool(Block):
    """The average of each channel, as a flat output, or as a feature map of one place where `keep`."""

    type: ClassVar[str] = "global_pool"
    keep: bool = False

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add one global pooling operation."""
        return graph.add(GlobalPooling(self.keep), *inputs)


@dataclass(frozen=True)
class FlattenMap(Block):
    """A feature map as a flat output."""

    type: ClassVar[str] = "flatten"

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add one flattening operation."""
        return graph.add(Flatten(), *inputs)


@dataclass(frozen=True)
class DenseLayer(Block):
    """A fully connected layer with bias."""

    type: ClassVar[str] = "dense"
    units: int
    activation: Activation = "linear"

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add one dense operation."""
        return graph.add(Dense(self.units, self.activation), *inputs)


@dataclass(frozen=True)
class Activated(Block):
    """An activation by itself."""

    type: ClassVar[str] = "activation"
    activation: Activation

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the activation."""
        return graph.add(Activate(self.activation), *inputs)


@dataclass(frozen=True)
class DropoutLayer(Block):
    """A share of values dropped while training."""

    type: ClassVar[str] = "dropout"
    rate: float

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add what training does and inference leaves out."""
        return graph.add(Dropout(self.rate), *inputs)
