"""How much memory a network's values take while it runs."""

from __future__ import annotations

import math

from harness.networks.graph import VALUE_BYTES, Graph, Precision


def most_live_bytes(graph: Graph, output: int, precision: Precision) -> int:
    """Return the most bytes that inputs and outputs of operations take at once, in the order they run: no arena can be smaller."""
    held = list(range(len(graph.inputs)))
    last: dict[int, int] = {}
    for position, node in enumerate(graph.nodes, len(graph.inputs)):
        for source in node.inputs:
            last[held[source]] = position
        held.append(held[node.inputs[0]] if isinstance(node.operation, graph.UNBUILT) else position)
    last[held[output]] = len(held)
    live, most = set(range(len(graph.inputs))), 0
    for position in range(len(graph.inputs), len(held)):
        live.add(held[position])
        most = max(most, sum(math.prod(graph.shape(one)) for one in live))
        live = {one for one in live if last.get(one, position) > position}
    return VALUE_BYTES[precision] * most
