"""Writes the two reference models, the same bytes each time: `python models/reference/write.py FOLDER`.

One is like the networks that are searched for phones, the other bound by reading its weights, 8 MiB of them. Operators are of version
1, which every runtime loads.
Weights repeat a short pattern, so that the files compress to next to nothing, and hold no zeros or denormals, which some kernels treat
apart.
"""

from __future__ import annotations

import hashlib
import lzma
import sys
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_BOTTLENECKS = ((72, 3, 2, 64), (256, 3, 1, 64), (256, 5, 2, 128), (512, 3, 1, 128), (512, 5, 1, 128), (512, 3, 1, 384))
"""Expanded channels, depthwise kernel, stride, channels of the output."""


class Writer:
    """One subgraph that grows operator by operator; each reads the output of the one before."""

    def __init__(self, shape: list[int]) -> None:
        self.buffers = [schema.BufferT()]  # by convention the first is empty: it stands for tensors without data
        self.tensors: list[schema.TensorT] = []
        self.operators: list[schema.OperatorT] = []
        self.codes: list[int] = []
        self.last = self.tensor("input", shape)

    def tensor(self, name: str, shape: list[int], data: np.ndarray | None = None) -> int:
        """Add a tensor and return its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, schema.TensorType.FLOAT32, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.astype("<f4").tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, code: int, weights: list[int], fan_in: int, output: list[int], options: object, kind: int) -> None:
        """Add an operator with weights and a bias."""
        name = f"layer_{len(self.operators)}"
        bias = output[-1:]
        inputs = [
            self.last,
            self.tensor(f"{name}/weights", weights, pattern(weights, fan_in)),
            self.tensor(f"{name}/bias", bias, pattern(bias, 64)),
        ]
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs = self.codes.index(code), inputs
        self.last = self.tensor(name, output)
        operator.outputs, operator.builtinOptionsType, operator.builtinOptions = [self.last], kind, options
        self.operators.append(operator)

    def convolution(self, size: int, into: int) -> None:
        """Add a convolution of stride 1 that keeps height and width, with ReLU."""
        shape = list(self.tensors[self.last].shape)
        options = schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = schema.Padding.SAME, 1, 1
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        kind = schema.BuiltinOptions.Conv2DOptions
        weights = [into, size, size, shape[3]]
        self.operator(schema.BuiltinOperator.CONV_2D, weights, size * size * shape[3], [*shape[:3], into], options, kind)

    def depthwise(self, size: int, stride: int) -> None:
        """Add a depthwise convolution with ReLU; the stride must divide height and width."""
        batch, height, width, channels = self.tensors[self.last].shape
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.strideH, options.strideW, options.depthMultiplier = schema.Padding.SAME, stride, stride, 1
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        kind = schema.BuiltinOptions.DepthwiseConv2DOptions
        output = [batch, height // stride, width // stride, channels]
        self.operator(schema.BuiltinOperator.DEPTHWISE_CONV_2D, [1, size, size, channels], size * size, output, options, kind)

    def dense(self, into: int) -> None:
        """Add a fully connected layer."""
        shape = list(self.tensors[self.last].shape)
        kind = schema.BuiltinOptions.FullyConnectedOptions
        options = schema.FullyConnectedOptionsT()
        self.operator(schema.BuiltinOperator.FULLY_CONNECTED, [into, shape[1]], shape[1], [shape[0], into], options, kind)

    def model(self, description: str) -> bytes:
        """Return the file."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs, graph.name = self.tensors, self.operators, [0], [self.last], "main"
        model = schema.ModelT()
        model.version, model.description, model.subgraphs, model.buffers, model.operatorCodes = 3, description, [graph], self.buffers, []
        for number in self.codes:
            code = schema.OperatorCodeT()
            code.deprecatedBuiltinCode, code.builtinCode, code.version = number, number, 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def pattern(shape: list[int], fan_in: int) -> np.ndarray:
    """Return weights of either sign that keep activations of one size from layer to layer; the period is prime to the layers' widths."""
    values = (np.arange(61, dtype=np.float64) * 23 % 61 - 30.5) / 30.5
    return np.resize(values * (3.0 / fan_in) ** 0.5, shape)


def mobile() -> bytes:
    """Return the model of the candidates' kind: inverted bottlenecks, 41 million multiply-adds on 2.6 MB of weights."""
    writer = Writer([1, 28, 28, 24])
    for expanded, size, stride, into in _BOTTLENECKS:
        writer.convolution(1, expanded)
        writer.depthwise(size, stride)
        writer.convolution(1, into)
    return writer.model("latency-harness reference: mobile")


def memory() -> bytes:
    """Return the model bound by memory: 2 million multiply-adds on 8 MiB of weights."""
    writer = Writer([1, 1024])
    for _ in range(2):
        writer.dense(1024)
    return writer.model("latency-harness reference: memory")


def main(folder: Path) -> None:
    """Write both models, compressed, and print the SHA-256 of each before compression."""
    for name, data in (("mobile", mobile()), ("memory", memory())):
        (folder / f"{name}.tflite.xz").write_bytes(lzma.compress(data, preset=9))
        print(hashlib.sha256(data).hexdigest(), len(data), name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
