"""A network layer by layer: each block a single operation, as whatever changes the channels of layers needs it."""

from __future__ import annotations

from harness.errors import ConfigError
from harness.networks import graph as g
from harness.networks.blocks import Activated, Block, Conv, DenseLayer, Depthwise, DropoutLayer, FlattenMap, GlobalPool, Pool
from harness.networks.fuse import fused
from harness.networks.layers import Cropped, Padded, Reading, Scaled, Sum
from harness.networks.network import Network, Training
from harness.networks.wiring import Gather


def layered(network: Network) -> Network:
    """Return the network that computes the same with a block for each operation that a runtime runs, see `fuse.fused`."""
    graph, output = network.graph()
    return network_of_graph(network.name, graph, output, network.training)


def network_of_graph(name: str, graph: g.Graph, output: int, training: Training | None = None) -> Network:
    """Return a graph of one input as a network whose output stands at a position.

    Raises ConfigError for an operation that no block stands for, which it names.
    """
    blocks: list[Block] = []
    for node in fused(graph, output)[0].nodes:
        block = layer_of(node.operation, node.inputs)
        blocks.append(block if block.reads(len(blocks)) == node.inputs else Reading(block, node.inputs))
    return Network(name, graph.inputs[0], tuple(blocks), training or Training())


def layer_of(operation: g.Operation, reads: tuple[int, ...] = (0,)) -> Block:
    """Return the block of one operation, which a concatenation of these outputs names as well; raises ConfigError for one without."""
    match operation:
        case g.Convolution(filters, kernel, stride, padding, groups, norm, activation):
            return Conv(filters, kernel, stride, padding, groups, norm, activation)
        case g.DepthwiseConvolution(kernel, stride, padding, multiplier, norm, bias, activation):
            return Depthwise(kernel, stride, padding, multiplier, norm, activation, bias)
        case g.Dense(units, activation):
            return DenseLayer(units, activation)
        case g.Pooling(reduction, kernel, stride, padding):
            return Pool(reduction, kernel, stride, padding)
        case g.GlobalPooling(keep):
            return GlobalPool(keep)
        case g.Flatten():
            return FlattenMap()
        case g.Activate(activation):
            return Activated(activation)
        case g.Dropout(rate):
            return DropoutLayer(rate)
        case g.Add(activation):
            return Sum(activation)
        case g.Multiply():
            return Scaled()
        case g.Concatenate():
            return Gather(reads)
        case g.Pad(rows, columns):
            return Padded(rows, columns)
        case g.Crop(rows, columns):
            return Cropped(rows, columns)
        case _:
            name = getattr(operation, "name", type(operation).__name__.lower())
            raise ConfigError(f"no latency table knows the operation {name}", "prune by mult-adds or parameters, or leave that layer out")
