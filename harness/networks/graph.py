"""What blocks compute: a graph of operations, each of which knows its output's shape, its parameters and its mult-adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.errors import ConfigError

Shape = tuple[int, ...]
"""Height, width and channels of a feature map, or the units of a dense layer; the batch of 1 is left out."""

Padding = Literal["same", "valid"]
Activation = Literal["linear", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "softmax"]
Reduction = Literal["max", "average"]
ACTIVATIONS: tuple[Activation, ...] = ("linear", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "softmax")

Precision = Literal["float32", "int8"]
VALUE_BYTES: dict[Precision, int] = {"float32": 4, "int8": 1}
"""Of a weight and of an activation."""
BIAS_BYTES = 4
"""Of a bias, in int8 files too."""


@dataclass(frozen=True)
class Operation:
    """One step of a graph. Unless it says otherwise it has one input, whose shape it keeps, and neither parameters nor mult-adds.

    `parameters` are the trained ones: weights, biases, and scale and shift of batch norm, whose moving statistics do not count. `weights`
    are what is left of them where batch norm is folded into the convolution before it: a bias. `biases` are those of the weights.
    """

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the output; raises ConfigError for inputs that the operation cannot take."""
        return shapes[0]

    def parameters(self, shapes: Sequence[Shape]) -> int:  # noqa: ARG002 - those without parameters ignore them
        """Return the number of trained parameters."""
        return 0

    def weights(self, shapes: Sequence[Shape]) -> int:
        """Return the number of weights and biases in a file for inference."""
        return self.parameters(shapes)

    def biases(self, shapes: Sequence[Shape]) -> int:  # noqa: ARG002 - those without biases ignore them
        """Return the number of biases among the weights."""
        return 0

    def mult_adds(self, shapes: Sequence[Shape]) -> int:  # noqa: ARG002 - those without mult-adds ignore them
        """Return the number of multiplications that are added up: those of convolutions and dense layers, as papers count them."""
        return 0


@dataclass(frozen=True)
class Convolution(Operation):
    """A convolution, its batch norm where `norm`, else its bias, and its activation. `kernel` and `stride` are height and width."""

    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "same"
    groups: int = 1
    norm: bool = True
    activation: Activation = "linear"

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the feature map's shape."""
        height, width, channels = feature_map(shapes[0], "a convolution")
        if channels % self.groups or self.filters % self.groups:
            what = f"{self.groups} groups do not divide {channels} channels and {self.filters} filters"
            raise ConfigError(what, "use a number of groups that divides both")
        return (*_window(height, width, self.kernel, self.stride, self.padding), self.filters)

    def parameters(self, shapes: Sequence[Shape]) -> int:
        """Return the number of weights, and two per filter with batch norm, one without."""
        return self._kernel_weights(shapes) + self.filters * (2 if self.norm else 1)

    def weights(self, shapes: Sequence[Shape]) -> int:
        """Return the number of weights and one bias per filter."""
        return self._kernel_weights(shapes) + self.filters

    def biases(self, shapes: Sequence[Shape]) -> int:  # noqa: ARG002 - as above
        """Return one per filter."""
        return self.filters

    def mult_adds(self, shapes: Sequence[Shape]) -> int:
        """Return the kernel's weights times the places it is laid on."""
        height, width, _ = self.output(shapes)
        return height * width * self._kernel_weights(shapes)

    def _kernel_weights(self, shapes: Sequence[Shape]) -> int:
        return math.prod(self.kernel) * shapes[0][-1] // self.groups * self.filters


@dataclass(frozen=True)
class DepthwiseConvolution(Operation):
    """A convolution of each channel for itself into `multiplier` channels, with batch norm or bias and activation."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "same"
    multiplier: int = 1
    norm: bool = True
    bias: bool = True
    activation: Activation = "linear"

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the feature map's shape."""
        height, width, channels = feature_map(shapes[0], "a depthwise convolution")
        return (*_window(height, width, self.kernel, self.stride, self.padding), channels * self.multiplier)

    def parameters(self, shapes: Sequence[Shape]) -> int:
        """Return the number of weights, and two per channel with batch norm, one with a bias alone."""
        per_channel = 2 if self.norm else 1 if self.bias else 0
        return self.output(shapes)[2] * (math.prod(self.kernel) + per_channel)

    def weights(self, shapes: Sequence[Shape]) -> int:
        """Return the number of weights and one bias per channel."""
        return self.output(shapes)[2] * (math.prod(self.kernel) + 1)

    def biases(self, shapes: Sequence[Shape]) -> int:
        """Return one per channel."""
        return self.output(shapes)[2]

    def mult_adds(self, shapes: Sequence[Shape]) -> int:
        """Return the kernel's size times the values of the output."""
        return math.prod(self.output(shapes)) * math.prod(self.kernel)


@dataclass(frozen=True)
class Dense(Operation):
    """A fully connected layer with bias."""

    units: int
    activation: Activation = "linear"

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the number of units."""
        if len(shapes[0]) != 1:
            raise ConfigError(f"a dense layer takes a flat input, not {text_of(shapes[0])}", "put a flatten or global_pool before it")
        return (self.units,)

    def parameters(self, shapes: Sequence[Shape]) -> int:
        """Return the number of weights and biases."""
        return (shapes[0][0] + 1) * self.units

    def biases(self, shapes: Sequence[Shape]) -> int:  # noqa: ARG002 - as above
        """Return one per unit."""
        return self.units

    def mult_adds(self, shapes: Sequence[Shape]) -> int:
        """Return the number of weights."""
        return shapes[0][0] * self.units


@dataclass(frozen=True)
class Pooling(Operation):
    """The largest or the average value under a window; places beyond the border do not count."""

    reduction: Reduction
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = "same"

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the feature map's shape."""
        height, width, channels = feature_map(shapes[0], "a pooling layer")
        return (*_window(height, width, self.kernel, self.stride, self.padding), channels)


@dataclass(frozen=True)
class GlobalPooling(Operation):
    """The average of each channel: a flat output, or a feature map of one place where `keep`."""

    keep: bool = False

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the number of channels."""
        *_, channels = feature_map(shapes[0], "global pooling")
        return (1, 1, channels) if self.keep else (channels,)


@dataclass(frozen=True)
class Flatten(Operation):
    """The values of a feature map in a row."""

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return their number."""
        return (math.prod(shapes[0]),)


@dataclass(frozen=True)
class Activate(Operation):
    """An activation by itself."""

    activation: Activation


@dataclass(frozen=True)
class Dropout(Operation):
    """A share of values dropped while training; nothing at inference."""

    rate: float


@dataclass(frozen=True)
class Add(Operation):
    """The sum of two inputs of one shape, and its activation."""

    activation: Activation = "linear"

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return their shape."""
        if len(set(shapes)) != 1:
            what = f"shapes that differ cannot be added: {' and '.join(map(text_of, shapes))}"
            raise ConfigError(what, "give both the same stride and the same channels")
        return shapes[0]


@dataclass(frozen=True)
class Multiply(Operation):
    """A feature map, each channel scaled by the second input, which has one place."""


@dataclass(frozen=True)
class Concatenate(Operation):
    """The channels of all inputs one after the other."""

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape with the channels of all."""
        if len({shape[:-1] for shape in shapes}) != 1:
            what = f"feature maps of different sizes cannot be concatenated: {', '.join(map(text_of, shapes))}"
            raise ConfigError(what, "give all of them the same strides and padding")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


@dataclass(frozen=True)
class Pad(Operation):
    """Zeros around a feature map: rows above and below, columns left and right."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the larger shape."""
        height, width, channels = shapes[0]
        return height + sum(self.rows), width + sum(self.columns), channels


@dataclass(frozen=True)
class Crop(Operation):
    """A feature map without its first rows and columns."""

    rows: int
    columns: int

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return the smaller shape."""
        height, width, channels = shapes[0]
        return height - self.rows, width - self.columns, channels


@dataclass(frozen=True)
class Node:
    """An operation at its place: `inputs` are positions in the graph, 0 the graph's first input; `output` is the shape it gives."""

    operation: Operation
    inputs: tuple[int, ...]
    output: Shape


@dataclass(frozen=True)
class Costs:
    """What can be counted without a device.

    `activations` are the values that its operations write, `weights` those of a file, `biases` those of the weights that are biases.
    """

    parameters: int = 0
    mult_adds: int = 0
    weights: int = 0
    activations: int = 0
    biases: int = 0

    def __add__(self, other: Costs) -> Costs:
        return Costs(
            self.parameters + other.parameters,
            self.mult_adds + other.mult_adds,
            self.weights + other.weights,
            self.activations + other.activations,
            self.biases + other.biases,
        )

    def weight_bytes(self, precision: Precision) -> int:
        """Return how many bytes the weights and biases of a file take."""
        return VALUE_BYTES[precision] * (self.weights - self.biases) + BIAS_BYTES * self.biases

    def activation_bytes(self, precision: Precision) -> int:
        """Return how many bytes its operations write."""
        return VALUE_BYTES[precision] * self.activations


class Graph:
    """Operations in the order they run, added one by one. The first positions are the inputs."""

    UNBUILT: ClassVar[tuple[type[Operation], ...]] = (Dropout,)
    """Operations that inference leaves out."""

    SHARED: ClassVar[tuple[type[Operation], ...]] = (Activate, Pooling, GlobalPooling, Flatten, Pad, Crop)
    """Operations without weights or chance: on the same input they are one, as TFLite's converter has it."""

    def __init__(self, *inputs: Shape) -> None:
        self.inputs = inputs
        self.nodes: list[Node] = []
        self._shared: dict[tuple[Operation, tuple[int, ...]], int] = {}

    def shape(self, position: int) -> Shape:
        """Return the shape at a position."""
        if position < len(self.inputs):
            return self.inputs[position]
        return self.nodes[position - len(self.inputs)].output

    def add(self, operation: Operation, *inputs: int) -> int:
        """Add an operation on the values at some positions; return its position. Raises ConfigError for shapes that it cannot take."""
        if (operation, inputs) in self._shared:
            return self._shared[operation, inputs]
        shape = operation.output([self.shape(position) for position in inputs])
        self.nodes.append(Node(operation, inputs, shape))
        position = len(self.inputs) + len(self.nodes) - 1
        if isinstance(operation, self.SHARED):
            self._shared[operation, inputs] = position
        return position

    def costs(self) -> Costs:
        """Return what all operations cost together."""
        total = Costs()
        for node in self.nodes:
            if isinstance(node.operation, self.UNBUILT):
                continue
            shapes = [self.shape(position) for position in node.inputs]
            operation = node.operation
            total += Costs(
                operation.parameters(shapes),
                operation.mult_adds(shapes),
                operation.weights(shapes),
                math.prod(node.output),
                operation.biases(shapes),
            )
        return total


def text_of(shape: Shape) -> str:
    """Return a shape as people write it: 224x224x3."""
    return "x".join(map(str, shape))


def feature_map(shape: Shape, what: str) -> tuple[int, int, int]:
    """Return the height, width and channels of a shape; raises ConfigError for a flat one, which `what` cannot take."""
    if len(shape) != 3:
        hint = "put it before the flatten or global_pool, on an input of [height, width, channels]"
        raise ConfigError(f"{what} takes a feature map, not a flat input of {text_of(shape)}", hint)
    height, width, channels = shape
    return height, width, channels


def _window(height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding) -> tuple[int, int]:
    """Return how many places a window is laid on; raises ConfigError where it finds too little to stride over."""
    sizes = []
    for size, extent, step in zip((height, width), kernel, stride, strict=True):
        if size < (extent if padding == "valid" else step):
            what = f"a {text_of(kernel)} window" if padding == "valid" else f"a stride of {text_of(stride)}"
            raise ConfigError(f"a feature map of {height}x{width} is too small for {what}", "use a larger resolution, or fewer strides")
        sizes.append((size - extent) // step + 1 if padding == "valid" else -(-size // step))
    return sizes[0], sizes[1]
