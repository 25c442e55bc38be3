"""A network or a block as a .tflite file, written without TensorFlow: the operators and fused activations that its converter gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from harness.convert.random_weights import RandomWeights
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
_ALIGNMENT = 16
_VERSION = 3


class Weights(Protocol):
    """Where the weights of a graph come from."""

    def kernel(self, node: int, shape: tuple[int, ...], fan_in: int) -> Floats:
        """Return the kernel of the operation that is the graph's node of this number, in TFLite's layout."""

    def bias(self, node: int, size: int) -> Floats:
        """Return its bias."""


def write_network(network: Network, weights: Weights | None = None) -> bytes:
    """Return the .tflite file of a network in float32, with random weights unless some are given."""
    graph, output = network.graph()
    return write_graph(graph, output, weights or RandomWeights(graph))


def write_block(block: Block, shapes: tuple[g.Shape, ...], weights: Weights | None = None) -> bytes:
    """Return the .tflite file of one block on inputs of these shapes, in float32, with random weights unless some are given."""
    graph, output = block_graph(block, shapes)
    return write_graph(graph, output, weights or RandomWeights(graph))


def write_graph(graph: g.Graph, output: int, weights: Weights) -> bytes:
    """Return the .tflite file of a graph whose result stands at a position."""
    writer = _Writer(graph, weights)
    fused = _fused_activations(graph, output)
    for number, node in enumerate(graph.nodes):
        writer.node(number, node, fused.get(number, "linear"))
    return writer.model([writer.at[position] for position in range(len(graph.inputs))], writer.at[output])


def _fused_activations(graph: g.Graph, output: int) -> dict[int, g.Activation]:
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
        if bare and position != output and len(after) == 1 and isinstance(after[0], g.Activate) and after[0].activation in _FUSED:
            fused[number] = after[0].activation
    return fused


@dataclass(frozen=True)
class _Kind:
    """How the file knows an operator."""

    code: int
    options: int
    version: int = 1


_CONV = _Kind(schema.BuiltinOperator.CONV_2D, schema.BuiltinOptions.Conv2DOptions)
_GROUPED = _Kind(schema.BuiltinOperator.CONV_2D, schema.BuiltinOptions.Conv2DOptions, version=6)
_DEPTHWISE = _Kind(schema.BuiltinOperator.DEPTHWISE_CONV_2D, schema.BuiltinOptions.DepthwiseConv2DOptions)
_DENSE = _Kind(schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOptions.FullyConnectedOptions)
_ADD = _Kind(schema.BuiltinOperator.ADD, schema.BuiltinOptions.AddOptions)
_MUL = _Kind(schema.BuiltinOperator.MUL, schema.BuiltinOptions.MulOptions)
_CONCAT = _Kind(schema.BuiltinOperator.CONCATENATION, schema.BuiltinOptions.ConcatenationOptions)
_MEAN = _Kind(schema.BuiltinOperator.MEAN, schema.BuiltinOptions.ReducerOptions)
_RESHAPE = _Kind(schema.BuiltinOperator.RESHAPE, schema.BuiltinOptions.ReshapeOptions)
_PAD = _Kind(schema.BuiltinOperator.PAD, schema.BuiltinOptions.PadOptions)
_SLICE = _Kind(schema.BuiltinOperator.STRIDED_SLICE, schema.BuiltinOptions.StridedSliceOptions)
_POOLS = {
    "max": _Kind(schema.BuiltinOperator.MAX_POOL_2D, schema.BuiltinOptions.Pool2DOptions),
    "average": _Kind(schema.BuiltinOperator.AVERAGE_POOL_2D, schema.BuiltinOptions.Pool2DOptions),
}
_ACTIVATIONS = {
    "relu": _Kind(schema.BuiltinOperator.RELU, schema.BuiltinOptions.NONE),
    "relu6": _Kind(schema.BuiltinOperator.RELU6, schema.BuiltinOptions.NONE),
    "hard_swish": _Kind(schema.BuiltinOperator.HARD_SWISH, schema.BuiltinOptions.NONE),
    "sigmoid": _Kind(schema.BuiltinOperator.LOGISTIC, schema.BuiltinOptions.NONE),
    "softmax": _Kind(schema.BuiltinOperator.SOFTMAX, schema.BuiltinOptions.SoftmaxOptions),
}


class _Writer:
    """One file that grows operator by operator; `at` gives the tensor that holds the value at a position of the graph."""

    def __init__(self, graph: g.Graph, weights: Weights) -> None:
        self._graph = graph
        self._weights = weights
        self._buffers = [schema.BufferT()]  # by convention the first is empty: it stands for tensors without data
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._kinds: list[_Kind] = []
        self._constants: dict[bytes, int] = {}
        self._bytes = 0
        self._rectified: set[int] = set()
        self.at = {position: self._tensor(shape) for position, shape in enumerate(graph.inputs)}

    def node(self, number: int, node: g.Node, fused: g.Activation) -> None:
        """Add the operators of one node, which takes the activation behind it with it where that is not linear."""
        operation, position = node.operation, len(self._graph.inputs) + number
        if fused != "linear":
            assert isinstance(operation, _FUSING)
            operation = replace(operation, activation=fused)
        sources = [self.at[source] for source in node.inputs]
        shapes = [self._graph.shape(source) for source in node.inputs]
        match operation:
            case g.Convolution():
                made = self._convolution(number, operation, sources[0], shapes[0], node.output)
            case g.DepthwiseConvolution():
                made = self._depthwise(number, operation, sources[0], shapes[0], node.output)
            case g.Dense():
                made = self._dense(number, operation, sources[0], shapes[0][0])
            case g.Pooling():
                options = schema.Pool2DOptionsT()
                options.padding = _PADDING[operation.padding]
                (options.strideH, options.strideW), (options.filterHeight, options.filterWidth) = operation.stride, operation.kernel
                made = self._operator(_POOLS[operation.reduction], sources, node.output, options)
            case g.GlobalPooling():
                options = schema.ReducerOptionsT()
                options.keepDims = operation.keep
                made = self._operator(_MEAN, [*sources, self._constant([1, 2])], node.output, options)
            case g.Flatten():
                options = schema.ReshapeOptionsT()
                made = self._operator(_RESHAPE, [*sources, self._constant([1, *node.output])], node.output, options)
            case g.Activate():
                made = sources[0] if sources[0] in self._rectified else self._activated(sources[0], node.output, operation.activation)
            case g.Dropout():
                made = sources[0]
            case g.Add():
                options = schema.AddOptionsT()
                options.potScaleInt16 = True
                options.fusedActivationFunction = _FUSED.get(operation.activation, _FUSED["linear"])
                rest = "linear" if operation.activation in _FUSED else operation.activation
                made = self._activated(self._operator(_ADD, sources, node.output, options), node.output, rest)
            case g.Multiply():
                made = self._operator(_MUL, sources, node.output, schema.MulOptionsT())
            case g.Concatenate():
                options = schema.ConcatenationOptionsT()
                options.axis = len(node.output)
                made = self._operator(_CONCAT, sources, node.output, options)
            case g.Pad():
                margins = [[0, 0], list(operation.rows), list(operation.columns), [0, 0]]
                made = self._operator(_PAD, [*sources, self._constant(margins)], node.output, schema.PadOptionsT())
            case g.Crop():
                made = self._crop(operation, sources[0], node.output)
            case _:
                raise AssertionError(operation)
        self.at[position] = made
        if fused != "linear":
            self._rectified.add(made)

    def _convolution(self, number: int, operation: g.Convolution, source: int, shape: g.Shape, output: g.Shape) -> int:
        channels = shape[-1] // operation.groups
        fused, rest, shift = _split(operation.activation)
        options = schema.Conv2DOptionsT()
        options.padding, (options.strideH, options.strideW) = _PADDING[operation.padding], operation.stride
        options.fusedActivationFunction = fused
        kernel = self._weights.kernel(number, (operation.filters, *operation.kernel, channels), math.prod(operation.kernel) * channels)
        kind = _CONV if operation.groups == 1 else _GROUPED
        made = self._operator(kind, [source, *self._parameters(number, kernel, operation.filters, shift)], output, options)
        return self._activated(made, output, rest)

    def _depthwise(self, number: int, operation: g.DepthwiseConvolution, source: int, shape: g.Shape, output: g.Shape) -> int:
        fused, rest, shift = _split(operation.activation)
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, (options.strideH, options.strideW) = _PADDING[operation.padding], operation.stride
        options.fusedActivationFunction, options.depthMultiplier = fused, operation.multiplier
        kernel = self._weights.kernel(number, (1, *operation.kernel, shape[-1] * operation.multiplier), math.prod(operation.kernel))
        made = self._operator(_DEPTHWISE, [source, *self._parameters(number, kernel, output[-1], shift)], output, options)
        return self._activated(made, output, rest)

    def _dense(self, number: int, operation: g.Dense, source: int, units: int) -> int:
        fused, rest, shift = _split(operation.activation)
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = fused
        kernel = self._weights.kernel(number, (operation.units, units), units)
        made = self._operator(_DENSE, [source, *self._parameters(number, kernel, operation.units, shift)], (operation.units,), options)
        return self._activated(made, (operation.units,), rest)

    def _crop(self, operation: g.Crop, source: int, output: g.Shape) -> int:
        options = schema.StridedSliceOptionsT()
        # Begin at the crop, end where the feature map ends.
        options.beginMask, options.endMask = 0b1001, 0b1111
        begin, end = [0, operation.rows, operation.columns, 0], [0, 0, 0, 0]
        return self._operator(_SLICE, [source, *map(self._constant, (begin, end, [1, 1, 1, 1]))], output, options)

    def _activated(self, source: int, shape: g.Shape, activation: g.Activation | Literal["a sixth"]) -> int:
        """Add an activation by itself; a hard sigmoid is what the converter makes of relu6(x + 3) / 6."""
        if activation == "linear":
            return source
        if activation == "hard_sigmoid":
            options = schema.AddOptionsT()
            options.fusedActivationFunction, options.potScaleInt16 = schema.ActivationFunctionType.RELU6, True
            return self._activated(self._operator(_ADD, [source, self._scalar(3.0)], shape, options), shape, "a sixth")
        if activation == "a sixth":
            return self._operator(_MUL, [source, self._scalar(1 / 6)], shape, schema.MulOptionsT())
        options = None
        if activation == "softmax":
            options = schema.SoftmaxOptionsT()
            options.beta = 1.0
        return self._operator(_ACTIVATIONS[activation], [source], shape, options)

    def _parameters(self, number: int, kernel: Floats, size: int, shift: float) -> tuple[int, int]:
        bias = self._weights.bias(number, size) + np.float32(shift)
        return self._data(kernel.shape, kernel), self._data(bias.shape, bias)

    def _operator(self, kind: _Kind, inputs: Sequence[int], output: g.Shape, options: Any) -> int:
        """Add an operator; return the tensor of its output."""
        if kind not in self._kinds:
            self._kinds.append(kind)
        operator = schema.OperatorT()
        made = self._tensor(output)
        operator.opcodeIndex, operator.inputs, operator.outputs = self._kinds.index(kind), list(inputs), [made]
        operator.builtinOptionsType, operator.builtinOptions = kind.options, options
        self._operators.append(operator)
        return made

    def _tensor(self, shape: g.Shape) -> int:
        """Add the tensor of an activation, of batch 1; return its index."""
        return self._add((1, *shape), schema.TensorType.FLOAT32, 0)

    def _data(self, shape: tuple[int, ...], values: Floats) -> int:
        return self._add(shape, schema.TensorType.FLOAT32, self._buffer(np.ascontiguousarray(values, "<f4")))

    def _scalar(self, value: float) -> int:
        return self._shared((), schema.TensorType.FLOAT32, np.array(value, "<f4"))

    def _constant(self, values: object) -> int:
        """Return the tensor of whole numbers that an operator is told, such as axes; equal ones are one."""
        array = np.array(values, "<i4")
        return self._shared(array.shape, schema.TensorType.INT32, array)

    def _shared(self, shape: tuple[int, ...], kind: int, array: npt.NDArray[Any]) -> int:
        key = repr((shape, kind)).encode() + array.tobytes()
        if key not in self._constants:
            self._constants[key] = self._add(shape, kind, self._buffer(array))
        return self._constants[key]

    def _add(self, shape: tuple[int, ...], kind: int, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"t{len(self._tensors)}", list(shape), kind, buffer
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _buffer(self, array: npt.NDArray[Any]) -> int:
        buffer = schema.BufferT()
        buffer.data = array.reshape(-1).view(np.uint8)
        self._bytes += buffer.data.size + 2 * _ALIGNMENT
        self._buffers.append(buffer)
        return len(self._buffers) - 1

    def model(self, inputs: list[int], output: int) -> bytes:
        """Return the file."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs, graph.name = self._tensors, self._operators, inputs, [output], "main"
        model = schema.ModelT()
        model.version, model.description, model.subgraphs, model.buffers = _VERSION, "latency-harness", [graph], self._buffers
        model.operatorCodes = []
        for kind in self._kinds:
            code = schema.OperatorCodeT()
            code.deprecatedBuiltinCode, code.builtinCode, code.version = min(kind.code, 127), kind.code, kind.version
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(self._bytes + (1 << 16))
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _split(activation: g.Activation) -> tuple[int, g.Activation | Literal["a sixth"], float]:
    """Return the activation that a convolution takes with it, what is left to do behind it, and what is added to its bias."""
    if activation == "hard_sigmoid":
        return _FUSED["relu6"], "a sixth", 3.0
    return (_FUSED[activation], "linear", 0.0) if activation in _FUSED else (_FUSED["linear"], activation, 0.0)
