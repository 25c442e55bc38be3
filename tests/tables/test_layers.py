"""Latency by layers, as groups of channels change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.errors import ConfigError, MissingBlock
from harness.networks.blocks import Conv, GlobalPool, block_key
from harness.networks.channels import FIXED, Channels
from harness.networks.layered import layered
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.tables.layers import LayerTable, layers_at_widths, varied
from harness.tables.listing import Placed, blocks_of_networks
from harness.tables.table import LatencyTable
from tests.tables import given

SHARES = (0.25, 0.5, 1.0)
NAMES = ("lenet_5", "mobilenet_v2:width=0.35,resolution=96", "mobilenet_v3_small:resolution=96", "inception_v2:width=0.25,resolution=96")
NETWORK = network_named(NAMES[1])


def table(network: Network, leaving_out: str = " ") -> LatencyTable:
    placed: Iterator[Placed] = (one for one in layers_at_widths(network, SHARES) if not block_key(*one).startswith(leaving_out))
    return given.table(placed)


def channels_of(network: Network) -> Channels:
    return Channels(*layered(network).graph())


def widths_of(channels: Channels) -> list[int]:
    return [group.channels for group in channels.groups]


@pytest.mark.parametrize("name", NAMES)
def test_networks_at_random_widths_have_their_layers_in_the_grid(name: str) -> None:
    network = network_named(name)
    keys = {block_key(*placed) for placed in layers_at_widths(network, SHARES)}
    found = varied(network, SHARES, 12)
    assert len({one.sha256 for one in found}) == 12
    assert found[0] == layered(network)
    assert {block_key(*placed) for placed in blocks_of_networks(found)} <= keys
    assert len({one.shapes[-1] for one in found}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_latency_of_a_network_is_that_of_its_layers(name: str) -> None:
    network = network_named(name)
    made = table(network)
    channels = channels_of(network)
    latency = LayerTable(made).latency(channels)
    for one in varied(network, SHARES, 5):
        widths = [int(text) for text in one.name.rpartition(" of widths ")[2].split("-")] if "widths" in one.name else widths_of(channels)
        assert latency.of(widths) == pytest.approx(made.predict(one).latency_ms, rel=0.05)


def test_fewer_channels_take_less_and_the_gradient_says_how_much() -> None:
    channels = channels_of(NETWORK)
    latency = LayerTable(table(NETWORK)).latency(channels)
    widths = [int(0.7 * width) if width >= 24 else width for width in widths_of(channels)]
    whole = latency.of(widths)
    slopes = latency.gradient(widths)
    for number, width in enumerate(widths):
        if width >= 24:
            moved = [*widths[:number], width - 4, *widths[number + 1 :]]
            assert latency.of(moved) < whole
            assert slopes[number] == pytest.approx((whole - latency.of(moved)) / 4, rel=0.35)
    assert (slopes >= 0).all()


def test_a_layer_without_rows_is_named() -> None:
    with pytest.raises(MissingBlock, match=r"lacks \d+ blocks: conv-f"):
        LayerTable(table(NETWORK, "conv")).latency(channels_of(NETWORK))
    with pytest.raises(MissingBlock, match="dense-u1000"):
        LayerTable(table(NETWORK, "dense")).latency(channels_of(NETWORK))


def test_nothing_is_said_of_widths_that_were_not_measured() -> None:
    channels = channels_of(NETWORK)
    latency = LayerTable(table(NETWORK)).latency(channels)
    with pytest.raises(ConfigError, match="channels are outside of what was measured"):
        latency.of([4 * width for width in widths_of(channels)])


@pytest.mark.parametrize("name", NAMES)
def test_the_nearest_widths_are_within_what_was_measured(name: str) -> None:
    network = network_named(name)
    channels = channels_of(network)
    latency = LayerTable(table(network)).latency(channels)
    generator = random.Random(0)
    for _ in range(50):
        widths = [generator.randint(1, 2 * width) for width in widths_of(channels)]
        assert latency.covers(latency.nearest(widths))


def test_layers_that_are_alike_serve_one_another_at_their_widths() -> None:
    widths = (32, 64, 128, 256)
    convolutions = [Conv(filters, (3, 3), activation="relu") for filters in widths]
    network = replace(NETWORK, input=(8, 8, 3), blocks=(*convolutions, GlobalPool(), *NETWORK.blocks[-1:]))
    latency = LayerTable(table(network)).latency(channels_of(network))
    narrow = [width // 4 for width in widths]
    assert latency.covers(narrow)  # the grids of wider layers, which hold the network's own widths too, do not reach so far
    assert latency.nearest(narrow) == narrow
    assert latency.nearest([1] * 4) != narrow
    assert latency.of(latency.nearest([1] * 4)) <= latency.of(narrow)


def test_a_layer_whose_own_channels_were_not_measured_is_named() -> None:
    other = Network("other", NETWORK.input, (*NETWORK.blocks[:-1], replace(NETWORK.blocks[-1], units=10)))  # type: ignore[call-arg]  # a dense layer
    with pytest.raises(MissingBlock, match="lacks a block: dense-u10-softmax"):
        LayerTable(table(NETWORK)).latency(channels_of(other))


def test_what_a_network_reads_and_tells_keeps_its_channels() -> None:
    channels = channels_of(NETWORK)
    assert channels.shares[0] == {FIXED: 3}
    assert {shapes[0][-1] for block, shapes in layers_at_widths(NETWORK, SHARES) if shapes[0][:2] == (96, 96)} == {3}


def test_there_may_be_fewer_networks_than_are_asked_for() -> None:
    assert len(varied(network_named("lenet_300_100"), (0.5, 1.0), 50)) == 4
