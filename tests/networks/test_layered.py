"""Networks layer by layer: the same graph, the same costs."""

from __future__ import annotations

import random

import pytest

from harness.errors import ConfigError
from harness.networks.blocks import Conv, Pool
from harness.networks.catalogue import network_files, recipe_named, space_files, space_named
from harness.networks.fuse import fused
from harness.networks.graph import Graph, Operation
from harness.networks.layered import layered, network_of_graph
from harness.networks.layers import Padded, Reading, Sum
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.networks.wiring import SkipConv


def check(network: Network) -> None:
    found = layered(network)
    ours, output = found.graph()
    theirs, places = fused(*network.graph())
    assert (ours.nodes, output) == (theirs.nodes, places[network.graph()[1]])
    assert found.costs == theirs.costs()
    assert all(len(block_graph_of(found, position)) == 1 for position in range(len(found.blocks)))
    assert Network.from_toml(found.to_toml()) == found


def block_graph_of(network: Network, position: int) -> list[object]:
    graph = Graph(*network.inputs_of(position))
    network.blocks[position].expand(graph, *range(len(graph.inputs)))
    return list(graph.nodes) or [None]


@pytest.mark.parametrize("name", sorted(network_files()))
def test_a_network_is_the_same_layer_by_layer(name: str) -> None:
    check(recipe_named(name).network(name))


@pytest.mark.parametrize("name", sorted(space_files()))
def test_a_candidate_is_the_same_layer_by_layer(name: str) -> None:
    space = space_named(name)
    check(space.network(space.sample(random.Random(7))))


def test_a_layer_s_key_does_not_tell_what_it_reads() -> None:
    found = layered(network_named("mobilenet_v2:resolution=96"))
    sums = [position for position, block in enumerate(found.blocks) if block.key == "sum"]
    assert len(sums) == 10
    assert found.block_keys[sums[0]] == "sum@24x24x24+24x24x24"


def test_what_does_not_lead_to_the_output_is_left_out() -> None:
    graph = Graph((8, 8, 3))
    first = Conv(4).expand(graph, 0)
    Conv(5).expand(graph, first)
    last = Pool("max", (3, 3)).expand(graph, first)
    network = network_of_graph("net", graph, last)
    assert [block.key for block in network.blocks] == ["conv-f4", "pool-max-k3"]


def test_an_operation_without_a_block_is_named() -> None:
    graph = Graph((8, 8, 3))
    output = graph.add(Operation(), 0)
    with pytest.raises(ConfigError, match="no latency table knows the operation operation"):
        network_of_graph("net", graph, output)


def test_a_block_that_says_itself_what_it_reads_takes_no_reading() -> None:
    with pytest.raises(ConfigError, match="a skip_conv says itself what it reads"):
        Reading(SkipConv(8, (3, 3), (0,)), (0,))


def test_a_layer_reads_only_what_is_before_it() -> None:
    with pytest.raises(ConfigError, match="are not earlier outputs"):
        assert Network("net", (8, 8, 3), (Conv(8), Reading(Sum(), (1, 2)))).shapes


def test_margins_are_two_numbers() -> None:
    with pytest.raises(ConfigError, match="rows of padded are"):
        Padded((1,))
