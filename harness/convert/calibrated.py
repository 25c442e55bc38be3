"""A network as an int8 file with weights of one's own: examples show how far its activations reach."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from harness.convert.direct import GraphWriter, Weights
from harness.convert.random_weights import GATE, Range, joined
from harness.errors import ConfigError
from harness.networks.network import Network

Floats = npt.NDArray[np.float32]
_LEAST_WIDTH = 1e-6


def write_calibrated(network: Network, weights: Weights, examples: Floats) -> bytes:
    """Return the int8 .tflite file of a network with these weights, without TensorFlow.

    `examples` is a batch of inputs, (count, height, width, channels) or (count, units). The float32 file of the same operators runs on
    each, and every tensor's least and greatest value become its range, 0 among them, as TFLite's own converter does it. Raises ConfigError
    for examples of another type or shape.
    """
    if examples.dtype != np.float32 or examples.shape[1:] != network.input or not len(examples):
        raise ConfigError(
            f"{network.name}: examples are {examples.dtype} of shape {examples.shape}",
            f"pass float32 of shape (count, {', '.join(map(str, network.input))}), one or more",
        )
    graph, output = network.graph()
    plain = GraphWriter(graph, weights, "float32")
    seen = _seen(plain.write(output), plain.activations, examples)
    for position, span in enumerate(joined(graph, [seen[plain.at[position]] for position in range(len(plain.at))])):
        seen[plain.at[position]] = span
    for position, node in enumerate(graph.nodes, len(graph.inputs)):
        if getattr(node.operation, "activation", "linear") in ("sigmoid", "softmax"):
            seen[plain.at[position]] = GATE
    return GraphWriter(graph, weights, "int8", seen).write(output)


def _seen(data: bytes, tensors: Iterable[int], examples: Floats) -> dict[int, Range]:
    """Return the range of each of a float32 file's tensors over the examples."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # A delegate would keep what lies between its operators to itself.
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=data, num_threads=1, experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    found = dict.fromkeys(tensors, (0.0, _LEAST_WIDTH))
    for example in examples:
        interpreter.set_tensor(given["index"], example[None])
        interpreter.invoke()
        for tensor, (low, high) in found.items():
            values = interpreter.get_tensor(tensor)
            found[tensor] = min(low, float(values.min())), max(high, float(values.max()))
    return found
