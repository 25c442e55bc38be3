"""Channels that live and die together."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.networks.blocks import Conv, DenseLayer, Depthwise, FlattenMap, MBConv, Pool
from harness.networks.catalogue import network_files
from harness.networks.channels import FIXED, Channels
from harness.networks.graph import Graph, Operation
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.networks.wiring import Branches


def channels_of(network: Network) -> Channels:
    return Channels(*network.graph())


def groups_of(*blocks: object) -> list[tuple[int, ...]]:
    network = Network("net", (8, 8, 3), tuple(blocks))  # type: ignore[arg-type]
    return [(group.channels, *group.producers) for group in channels_of(network).groups]


HEAD = (FlattenMap(), DenseLayer(10, "softmax"))


def test_what_is_read_and_told_keeps_its_channels() -> None:
    assert groups_of(*HEAD) == []
    assert groups_of(Conv(4), *HEAD) == [(4, 1)]
    assert groups_of(Conv(4), Pool("max", (2, 2)), Depthwise((3, 3)), Conv(5), *HEAD) == [(4, 1), (5, 4)]


def test_a_residual_addition_ties_what_it_adds() -> None:
    assert groups_of(Conv(4), MBConv(4, expansion=6), MBConv(4, expansion=6), *HEAD) == [(4, 1, 4, 8), (24, 2), (24, 6)]


def test_a_gate_has_the_channels_that_it_scales() -> None:
    # 1 conv, 2 expansion, 3 depthwise, 4 pooling, 5 squeeze, 6 gate, 7 multiplication, 8 projection
    assert groups_of(Conv(8), MBConv(5, expansion=2, se=0.5), *HEAD) == [(8, 1), (16, 2, 6), (4, 5), (5, 8)]


def test_a_concatenation_keeps_its_parts_apart() -> None:
    assert groups_of(Branches(((Conv(4),), (Conv(6),))), Conv(5), *HEAD) == [(4, 1), (6, 2), (5, 4)]


def test_a_sum_of_two_concatenations_ties_them_piece_by_piece() -> None:
    graph = Graph((8, 8, 3))
    parts = [Conv(filters).expand(graph, 0) for filters in (2, 4, 3, 3)]
    from harness.networks.graph import Add, Concatenate

    both = [graph.add(Concatenate(), *parts[:2]), graph.add(Concatenate(), *parts[2:])]
    last = Conv(5).expand(graph, graph.add(Add(), *both))
    assert [(group.channels, *group.producers) for group in Channels(graph, last).groups] == [(2, 1, 3), (1, 2, 3), (3, 2, 4)]


def test_a_grouped_convolution_keeps_what_it_reads_and_makes() -> None:
    assert groups_of(Conv(4), Conv(6, groups=2), Conv(5), *HEAD) == [(5, 3)]


def test_an_operation_that_is_not_known_keeps_what_it_reads_and_makes() -> None:
    graph = Graph((8, 8, 3))
    first = Conv(4).expand(graph, 0)
    unknown = graph.add(Operation(), first)
    last = Conv(5).expand(graph, Conv(6).expand(graph, unknown))
    assert [(group.channels, *group.producers) for group in Channels(graph, last).groups] == [(6, 3)]


def test_a_flattened_channel_goes_from_every_place() -> None:
    network = Network("net", (4, 4, 3), (Conv(3), *HEAD))
    channels = channels_of(network)
    left = channels.kept_at(2, {0: np.array([True, False, True])})
    assert left.tolist() == [True, False, True] * 16
    assert channels.width_at(2, [2]) == 32
    assert channels.shares[0] == {FIXED: 3}


@pytest.mark.parametrize("name", sorted(network_files()))
def test_every_network_of_the_zoo_is_resized(name: str) -> None:
    graph, output = network_named(name).graph()
    channels = Channels(graph, output)
    assert channels.resized([group.channels for group in channels.groups]).nodes == graph.nodes
    generator = random.Random(0)
    widths = [generator.randint(1, group.channels) for group in channels.groups]
    found = channels.resized(widths)
    assert found.shape(output) == graph.shape(output)
    kept = {number: np.arange(group.channels) < width for number, (group, width) in enumerate(zip(channels.groups, widths, strict=True))}
    for position in range(len(graph.nodes) + 1):
        assert found.shape(position)[-1] == channels.kept_at(position, kept).sum() == channels.width_at(position, widths)


def test_a_group_keeps_a_channel() -> None:
    channels = channels_of(Network("net", (8, 8, 3), (Conv(4), *HEAD)))
    with pytest.raises(ConfigError, match="each keeps one channel or more"):
        channels.resized([0])
    with pytest.raises(ConfigError, match="are none of 1 groups"):
        channels.resized([2, 2])


def test_a_softmax_keeps_what_it_weighs() -> None:
    assert groups_of(Conv(4), Conv(5, activation="softmax"), Conv(6), *HEAD) == [(4, 1), (6, 3)]
