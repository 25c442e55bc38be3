"""Operations that a runtime does in one: batch norm and activation go with the convolution before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from harness.networks import graph as g
from harness.networks.foreign import Norm


def fused(graph: g.Graph, output: int) -> tuple[g.Graph, list[int]]:
    """Return a graph that computes the same at `output`, and which of its positions holds what each of the given one's held.

    Batch norm right behind a convolution, and an activation right behind what may have one, become part of it where nothing else reads
    what is between. What does not lead to the output is left out; its position is that of what it read.
    """
    needed = {output}
    for position in range(len(graph.nodes) + len(graph.inputs) - 1, len(graph.inputs) - 1, -1):
        if position in needed:
            needed.update(graph.nodes[position - len(graph.inputs)].inputs)
    readers: Counter[int] = Counter()
    for position, node in enumerate(graph.nodes, len(graph.inputs)):
        if position in needed:
            readers.update(node.inputs)
    readers[output] += 1
    nodes: list[tuple[g.Operation, tuple[int, ...]]] = []
    places = list(range(len(graph.inputs)))
    for position, node in enumerate(graph.nodes, len(graph.inputs)):
        sources = tuple(places[source] for source in node.inputs)
        if position not in needed:
            places.append(sources[0])
            continue
        number = sources[0] - len(graph.inputs)
        together = _together(nodes[number][0], node.operation) if number >= 0 and readers[node.inputs[0]] == 1 else None
        if together is not None:
            nodes[number] = together, nodes[number][1]
            places.append(sources[0])
        else:
            nodes.append((node.operation, sources))
            places.append(len(graph.inputs) + len(nodes) - 1)
    found = g.Graph(*graph.inputs)
    renamed = list(range(len(graph.inputs)))
    for operation, sources in nodes:
        renamed.append(found.add(operation, *(renamed[source] for source in sources)))
    return found, [renamed[place] for place in places]


def _together(first: g.Operation, second: g.Operation) -> g.Operation | None:
    """Return two operations as one, None where no operation does both."""
    match first, second:
        case ((g.Convolution(norm=False, activation="linear") | g.DepthwiseConvolution(norm=False, activation="linear")), Norm()):
            return replace(first, norm=True, bias=True) if isinstance(first, g.DepthwiseConvolution) else replace(first, norm=True)
        case (
            (g.Convolution() | g.DepthwiseConvolution() | g.Dense() | g.Add()) as plain,
            g.Activate(activation),
        ) if plain.activation == "linear":
            return replace(plain, activation=activation)
        case _:
            return None
