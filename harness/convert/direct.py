"""A network or a block as a .tflite file, written without TensorFlow: the operators and fused activations that its converter gives.

An int8 file has scales for random weights: its latency is that of any other, its output is of no use.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from harness.convert.random_weights import RandomWeights, Range, range_before, ranges
from harness.convert.tflite_file import Kind, Quantization, TfliteFile
from harness.errors import ConfigError, ConversionError
from harness.networks import graph as g
from harness.networks.blocks import Block, block_graph
from harness.networks.network import Network

Floats = npt.NDArray[np.float32]

_FUSED = {
    "linear": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_FUSING = (g.Convolution, g.DepthwiseConvolution, g.Dense, g.Add)
_PADDING = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}
DirectPrecision = Literal["float32", "int8"]
_MOST_BIAS = 2**30
_MOST_BYTES = 2**31 - 2**24  # flatbuffers have signed 32-bit offsets; some room is for all that is not weights


class Weights(Protocol):
    """Where the weights of a graph come from."""

    def kernel(self, node: int, shape: tuple[int, ...], fan_in: int) -> Floats:
        """Return the kernel of the operation that is the graph's node of this number, in TFLite's layout."""

    def bias(self, node: int, size: int) -> Floats:
        """Return its bias."""


def write_network(network: Network, weights: Weights | None = None, precision: DirectPrecision = "float32") -> bytes:
    """Return the .tflite file of a network, with random weights unless some are given.

    `convert.carried.CarriedWeights` are those of a model that `build_keras` made. An int8 file with weights of one's own needs examples of
    the input too: `convert.calibrated.write_calibrated`. Raises ConversionError where the file would grow too large.
    """
    if weights is not None and precision == "int8":
        raise ConfigError(
            f"{network.name}: int8 with weights of one's own takes examples of its input, to know how far its activations reach",
            "use harness.convert.calibrated.write_calibrated(network, weights, examples)",
        )
    check_size(network, precision)
    graph, output = network.graph()
    return write_graph(graph, output, weights or RandomWeights(graph), precision)


def check_size(network: Network, precision: DirectPrecision = "float32") -> None:
    """Raise ConversionError where no .tflite file could hold a network's weights."""
    size_bytes = network.costs.weight_bytes(precision)
    if size_bytes > _MOST_BYTES:
        hint = "A .tflite file holds 2 GiB at most: use a smaller width or resolution."
        raise ConversionError(f"{network.name}: its weights take {size_bytes / 2**30:.1f} GiB", hint)


def write_block(block: Block, shapes: tuple[g.Shape, ...], weights: Weights | None = None, precision: DirectPrecision = "float32") -> bytes:
    """Return the .tflite file of one block on inputs of these shapes, with random weights unless some are given."""
    graph, output = block_graph(block, shapes)
    return write_graph(graph, output, weights or RandomWeights(graph), precision)


def write_chain(block: Block, shapes: tuple[g.Shape, ...], copies: int, precision: DirectPrecision = "float32") -> bytes:
    """Return the .tflite file of copies of a block, each with random weights of its own.

    Each reads the output of the one before where that has the shape of the block's only input, else an input of its own.
    """
    only, follows = g.Graph(*shapes), False
    if len(shapes) == 1:
        follows = only.shape(block.expand(only, 0)) == shapes[0]
    graph = g.Graph(*(shapes if follows else shapes * copies))
    outputs: list[int] = []
    for copy in range(copies):
        first = copy * len(shapes)
        read = outputs[-1:] or [0] if follows else list(range(first, first + len(shapes)))
        outputs.append(block.expand(graph, *read))
    return GraphWriter(graph, RandomWeights(graph), precision).write(*(outputs[-1:] if follows else outputs))


def write_graph(graph: g.Graph, output: int, weights: Weights, precision: DirectPrecision = "float32") -> bytes:
    """Return the .tflite file of a graph whose result stands at a position."""
    return GraphWriter(graph, weights, precision).write(output)


def _fused_activations(graph: g.Graph, outputs: Collection[int]) -> dict[int, g.Activation]:
    """Return which nodes take the activation behind them with them, as the converter has it: where nothing else reads them."""
    readers: dict[int, list[g.Node]] = {}
    for node in graph.nodes:
        for position in node.inputs:
            readers.setdefault(position, []).append(node)
    fused: dict[int, g.Activation] = {}
    for number, node in enumerate(graph.nodes):
        position = len(graph.inputs) + number
        after = [reader.operation for reader in readers.get(position, ())]
        bare = isinstance(node.operation, _FUSING) and node.operation.activation == "linear"
        if bare and position not in outputs and len(after) == 1 and isinstance(after[0], g.Activate) and after[0].activation in _FUSED:
            fused[number] = after[0].activation
    return fused


_Conv2D = schema.BuiltinOperator.CONV_2D, schema.BuiltinOptions.Conv2DOptions
_CONV = {"float32": Kind(*_Conv2D), "grouped": Kind(*_Conv2D, version=6), "int8": Kind(*_Conv2D, version=3)}


def _kinds(code: int, options: int, int8_version: int = 2) -> dict[str, Kind]:
    return {"float32": Kind(code, options), "int8": Kind(code, options, int8_version)}


_OPERATORS, _OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions
_DEPTHWISE = _kinds(_OPERATORS.DEPTHWISE_CONV_2D, _OPTIONS.DepthwiseConv2DOptions, 3)
_DENSE = _kinds(_OPERATORS.FULLY_CONNECTED, _OPTIONS.FullyConnectedOptions, 4)
_ADD = _kinds(_OPERATORS.ADD, _OPTIONS.AddOptions)
_MUL = _kinds(_OPERATORS.MUL, _OPTIONS.MulOptions)
_CONCAT = _kinds(_OPERATORS.CONCATENATION, _OPTIONS.ConcatenationOptions)
_MEAN = _kinds(_OPERATORS.MEAN, _OPTIONS.ReducerOptions)
_RESHAPE = _kinds(_OPERATORS.RESHAPE, _OPTIONS.ReshapeOptions, 1)
_PAD = _kinds(_OPERATORS.PAD, _OPTIONS.PadOptions)
_SLICE = _kinds(_OPERATORS.STRIDED_SLICE, _OPTIONS.StridedSliceOptions)
_POOLS = {
    "max": _kinds(_OPERATORS.MAX_POOL_2D, _OPTIONS.Pool2DOptions),
    "average": _kinds(_OPERATORS.AVERAGE_POOL_2D, _OPTIONS.Pool2DOptions),
}
_ACTIVATIONS = {
    "relu": _kinds(_OPERATORS.RELU, _OPTIONS.NONE),
    "relu6": _kinds(_OPERATORS.RELU6, _OPTIONS.NONE),
    "hard_swish": _kinds(_OPERATORS.HARD_SWISH, _OPTIONS.NONE, 1),
    "sigmoid": _kinds(_OPERATORS.LOGISTIC, _OPTIONS.NONE),
    "softmax": _kinds(_OPERATORS.SOFTMAX, _OPTIONS.SoftmaxOptions),
}
Weighted = g.Convolution | g.DepthwiseConvolution | g.Dense
_Rest = g.Activation | Literal["a sixth"]
_SIXTH: Literal["a sixth"] = "a sixth"


class GraphWriter:
    """Writes a graph once; tensors have the same numbers in every precision.

    `at` gives the tensor that holds the value at a position of the graph, `activations` all that operators compute. An int8 file has the
    ranges that are `measured` of each of those, or such as `RandomWeights` give.
    """

    def __init__(self, graph: g.Graph, weights: Weights, precision: DirectPrecision, measured: Mapping[int, Range] | None = None) -> None:
        self.file = TfliteFile()
        self.activations: list[int] = []
        self._measured = measured
        self._graph = graph
        self._weights = weights
        self._precision = precision
        self._ranges = ranges(graph) if precision == "int8" else None
        self._rectified: set[int] = set()
        self._scales: dict[int, float] = {}
        self.at = {position: self._tensor(shape, self._range(position)) for position, shape in enumerate(graph.inputs)}
        self.file.rename(self.at[0], "input")

    def write(self, *outputs: int) -> bytes:
        """Return the file whose results stand at positions of the graph."""
        fused = _fused_activations(self._graph, outputs)
        for number, node in enumerate(self._graph.nodes):
            self._node(number, node, fused.get(number, "linear"))
        return self.file.to_bytes(
            [self.at[position] for position in range(len(self._graph.inputs))], [self.at[position] for position in outputs]
        )

    def _node(self, number: int, node: g.Node, fused: g.Activation) -> None:
        """Add the operators of one node, which takes the activation behind it with it where that is not linear."""
        operation, position = node.operation, len(self._graph.inputs) + number
        if fused != "linear":
            assert isinstance(operation, _FUSING)
            operation = replace(operation, activation=fused)
            self._fuse(position, fused)
        sources, end = [self.at[source] for source in node.inputs], self._range(position)
        match operation:
            case g.Convolution() | g.DepthwiseConvolution() | g.Dense():
                made = self._weighted(number, operation, sources[0], self._graph.shape(node.inputs[0]), node.output, end)
            case g.Pooling():
                options = schema.Pool2DOptionsT()
                options.padding = _PADDING[operation.padding]
                (options.strideH, options.strideW), (options.filterHeight, options.filterWidth) = operation.stride, operation.kernel
                made = self._operator(_POOLS[operation.reduction], sources, node.output, options, end)
            case g.GlobalPooling():
                options = schema.ReducerOptionsT()
                options.keepDims = operation.keep
                made = self._operator(_MEAN, [*sources, self._numbers([1, 2])], node.output, options, end)
            case g.Flatten():
                options = schema.ReshapeOptionsT()
                made = self._operator(_RESHAPE, [*sources, self._numbers([1, *node.output])], node.output, options, end)
            case g.Activate():
                done = node.inputs[0] in self._rectified
                made = sources[0] if done else self._activated(sources[0], node.output, operation.activation, end)
            case g.Dropout():
                made = sources[0]
            case g.Add():
                made = self._sum(operation, sources, node.output, end)
            case g.Multiply():
                made = self._operator(_MUL, sources, node.output, schema.MulOptionsT(), end)
            case g.Concatenate():
                options = schema.ConcatenationOptionsT()
                options.axis = len(node.output)
                made = self._operator(_CONCAT, sources, node.output, options, end)
            case g.Pad():
                margins = [[0, 0], list(operation.rows), list(operation.columns), [0, 0]]
                made = self._operator(_PAD, [*sources, self._numbers(margins)], node.output, schema.PadOptionsT(), end)
            case g.Crop():
                options = schema.StridedSliceOptionsT()
                # Begin at the crop, end where the feature map ends.
                options.beginMask, options.endMask = 0b1001, 0b1111
                limits = ([0, operation.rows, operation.columns, 0], [0, 0, 0, 0], [1, 1, 1, 1])
                made = self._operator(_SLICE, [*sources, *map(self._numbers, limits)], node.output, options, end)
            case _:
                raise AssertionError(operation)
        self.at[position] = made
        if fused != "linear":
            self._rectified.add(position)

    def _weighted(self, number: int, operation: Weighted, source: int, shape: g.Shape, output: g.Shape, end: Range | None) -> int:
        """Add an operator with weights and a bias, and what is left of its activation."""
        shift, fused = 0.0, _FUSED.get(operation.activation, _FUSED["linear"])
        rest: _Rest = "linear" if operation.activation in _FUSED else operation.activation
        if operation.activation == "hard_sigmoid":
            shift, fused, rest = 3.0, _FUSED["relu6"], _SIXTH
        form: tuple[int, ...]
        match operation:
            case g.Convolution():
                kinds, options, axis = _CONV, schema.Conv2DOptionsT(), 0
                channels = shape[-1] // operation.groups
                form, fan_in = (operation.filters, *operation.kernel, channels), math.prod(operation.kernel) * channels
                if operation.groups > 1:
                    kinds = kinds | {"float32": _CONV["grouped"], "int8": _CONV["grouped"]}
            case g.DepthwiseConvolution():
                kinds, options, axis = _DEPTHWISE, schema.DepthwiseConv2DOptionsT(), 3
                options.depthMultiplier = operation.multiplier
                form, fan_in = (1, *operation.kernel, output[-1]), math.prod(operation.kernel)
            case g.Dense():
                kinds, options, axis = _DENSE, schema.FullyConnectedOptionsT(), 0
                form, fan_in = (operation.units, shape[0]), shape[0]
        if not isinstance(operation, g.Dense):
            options.padding, (options.strideH, options.strideW) = _PADDING[operation.padding], operation.stride
        options.fusedActivationFunction = fused
        kernel = self._weights.kernel(number, form, fan_in)
        bias = self._weights.bias(number, output[-1]) + np.float32(shift)
        inputs = [source, *self._parameters(source, kernel, bias, axis)]
        between = end if rest == "linear" else (0.0, 6.0) if rest == _SIXTH else range_before(operation.activation)
        made = self._operator(kinds, inputs, output, options, between)
        return self._activated(made, output, rest, end)

    def _sum(self, operation: g.Add, sources: Sequence[int], output: g.Shape, end: Range | None) -> int:
        options = schema.AddOptionsT()
        options.potScaleInt16 = True
        fused = operation.activation in _FUSED
        options.fusedActivationFunction = _FUSED[operation.activation if fused else "linear"]
        made = self._operator(_ADD, sources, output, options, end if fused else range_before(operation.activation))
        return self._activated(made, output, "linear" if fused else operation.activation, end)

    def _activated(self, source: int, shape: g.Shape, activation: _Rest, end: Range | None) -> int:
        """Add an activation by itself; a hard sigmoid is what the converter makes of relu6(x + 3) / 6."""
        if activation == "linear":
            return source
        if activation == "hard_sigmoid":
            options = schema.AddOptionsT()
            options.fusedActivationFunction, options.potScaleInt16 = _FUSED["relu6"], True
            shifted = self._operator(_ADD, [source, self._number(3.0)], shape, options, (0.0, 6.0))
            return self._activated(shifted, shape, _SIXTH, end)
        if activation == _SIXTH:
            return self._operator(_MUL, [source, self._number(1 / 6)], shape, schema.MulOptionsT(), end)
        options = None
        if activation == "softmax":
            options = schema.SoftmaxOptionsT()
            options.beta = 1.0
        return self._operator(_ACTIVATIONS[activation], [source], shape, options, end)

    def _parameters(self, source: int, kernel: Floats, bias: Floats, axis: int) -> tuple[int, int]:
        """Add a kernel and a bias; those of int8 are scaled by channel, which are along `axis` of the kernel."""
        if self._precision == "float32":
            return self.file.data(np.asarray(kernel, "<f4")), self.file.data(np.asarray(bias, "<f4"))
        others = tuple(index for index in range(kernel.ndim) if index != axis)
        # A channel of zeros, as pruning leaves them, has a bias still, which must fit into 32 bits of its scale.
        least = np.maximum(np.abs(bias, dtype=np.float64) / self._scales[source] / _MOST_BIAS, 1e-9)
        flat = np.maximum(np.abs(kernel).max(axis=others) / 127, least)
        quantized = np.rint(kernel / flat.reshape([-1 if index == axis else 1 for index in range(kernel.ndim)])).astype(np.int8)
        bias_scales = self._scales[source] * flat
        whole = np.rint(bias / bias_scales).astype("<i4")
        return (
            self.file.data(quantized, Quantization(tuple(flat.tolist()), axis=axis)),
            self.file.data(whole, Quantization(tuple(bias_scales.tolist()))),
        )

    def _operator(self, kinds: Mapping[str, Kind], inputs: Sequence[int], output: g.Shape, options: Any, end: Range | None) -> int:
        return self.file.operator(kinds[self._precision], inputs, self._tensor(output, end), options)

    def _tensor(self, shape: g.Shape, end: Range | None) -> int:
        """Add the tensor of an activation, of batch 1."""
        self.activations.append(len(self.file))
        if self._precision == "float32" or end is None:
            return self.file.tensor((1, *shape))
        quantization = Quantization.of_range(*(end if self._measured is None else self._measured[len(self.file)]))
        made = self.file.tensor((1, *shape), quantization)
        (self._scales[made],) = quantization.scales
        return made

    def _range(self, position: int) -> Range | None:
        return None if self._ranges is None else self._ranges[position]

    def _fuse(self, position: int, activation: g.Activation) -> None:
        """Give a position the range of the activation behind it."""
        if self._ranges is not None:
            reader = next(
                len(self._graph.inputs) + number
                for number, node in enumerate(self._graph.nodes)
                if position in node.inputs and node.operation == g.Activate(activation)
            )
            self._ranges[position] = self._ranges[reader]

    def _number(self, value: float) -> int:
        if self._precision == "float32":
            return self.file.constant(np.array(value, "<f4"))
        return self.file.constant(np.array(127, np.int8), Quantization((value / 127,)))

    def _numbers(self, values: object) -> int:
        """Return the tensor of whole numbers that an operator is told, such as axes."""
        return self.file.constant(np.array(values, "<i4"))
