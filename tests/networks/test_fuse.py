"""Operations that a runtime does in one."""

from __future__ import annotations

from harness.networks import graph as g
from harness.networks.foreign import Norm
from harness.networks.fuse import fused

CONVOLUTION = g.Convolution(4, (3, 3), norm=False)


def of(*steps: tuple[g.Operation, int]) -> g.Graph:
    graph = g.Graph((8, 8, 3))
    for operation, source in steps:
        graph.add(operation, source)
    return graph


def test_batch_norm_and_activation_go_with_a_convolution() -> None:
    found, places = fused(of((CONVOLUTION, 0), (Norm(), 1), (g.Activate("relu"), 2)), 3)
    assert [node.operation for node in found.nodes] == [g.Convolution(4, (3, 3), activation="relu")]
    assert places == [0, 1, 1, 1]


def test_what_others_read_stays() -> None:
    graph = of((CONVOLUTION, 0), (g.Activate("relu"), 1))
    last = graph.add(g.Add(), 1, 2)
    assert fused(graph, last)[0].nodes == graph.nodes


def test_an_output_stays() -> None:
    graph = of((CONVOLUTION, 0), (g.Activate("relu"), 1))
    assert [node.operation for node in fused(graph, 1)[0].nodes] == [CONVOLUTION]


def test_a_second_activation_is_one_by_itself() -> None:
    found, places = fused(of((CONVOLUTION, 0), (g.Activate("relu"), 1), (g.Activate("sigmoid"), 2), (Norm(), 3)), 4)
    assert [type(node.operation) for node in found.nodes] == [g.Convolution, g.Activate, Norm]
    assert places == [0, 1, 1, 2, 3]


def test_what_does_not_lead_to_the_output_is_left_out() -> None:
    found, places = fused(of((CONVOLUTION, 0), (g.Activate("sigmoid"), 1), (CONVOLUTION, 0), (g.Flatten(), 3)), 4)
    assert [type(node.operation) for node in found.nodes] == [g.Convolution, g.Flatten]
    assert places == [0, 0, 0, 1, 2]
