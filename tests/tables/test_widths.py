"""Blocks at other widths: what `ChannelLatency` interpolates between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.networks.blocks import block_key
from harness.networks.named import network_named
from harness.tables.channels import ChannelLatency
from harness.tables.listing import blocks_of_networks
from harness.tables.widths import at_widths, width_of, with_width
from tests.tables import given

SHARES = (0.5, 0.75, 1.0)
NETWORK = network_named("mobilenet_v2:resolution=96")


def test_each_width_of_the_input_stands_with_each_of_the_output() -> None:
    found = {block_key(*placed): placed for placed in at_widths([NETWORK], SHARES)}
    position = 4
    block, (shape,) = NETWORK.blocks[position], NETWORK.inputs_of(position)
    for one in (16, 24):
        for two in (16, 24, 32):
            if one != 24 or two != width_of(block):
                assert block_key(with_width(block, two), ((*shape[:-1], one),)) in found


def test_a_network_s_own_widths_are_on_the_grid_whatever_the_shares() -> None:
    for name in ("mobilenet_v2", "lenet_300_100", "lenet_5", "nasnet_a_mobile"):
        network = network_named(name)
        every = (*at_widths([network], (0.5, 0.75)), *blocks_of_networks([network]))
        table = given.table({block_key(*placed): placed for placed in every}.values())
        for position, block in enumerate(network.blocks):
            inputs = network.inputs_of(position)
            if width_of(block) and len(inputs) == 1 and position < len(network.blocks) - 1 and inputs[0] != network.input:
                assert ChannelLatency.of(table, block, inputs).latency_ms(inputs[0][-1], width_of(block)) > 0


def test_colours_and_classes_keep_their_number() -> None:
    found = at_widths([NETWORK], SHARES)
    assert {shapes[0][-1] for _, shapes in found if shapes[0][:2] == (96, 96)} == {3}
    assert {width_of(block) for block, _ in found if block.type == "dense"} == {1000}


def test_a_table_at_widths_is_interpolated_between_them() -> None:
    table = given.table(at_widths([NETWORK], SHARES))
    position = next(index for index in range(len(NETWORK.blocks)) if NETWORK.inputs_of(index)[0][-1] == 64)
    found = ChannelLatency.of(table, NETWORK.blocks[position], NETWORK.inputs_of(position))
    low, high = (float(found.latency_ms(*pair)) for pair in ((32, 32), (64, 64)))
    assert low < float(found.latency_ms(44, 44)) < high
    assert found.held_out is not None
    assert np.isfinite(found.held_out.mape)


def test_a_block_without_a_width_of_its_own_keeps_it() -> None:
    block = next(block for block in NETWORK.blocks if block.type == "global_pool")
    assert with_width(block, 8) is not None
    assert replace(block) == with_width(block, 8)
    assert width_of(block) == 0


def test_without_shares_there_are_no_other_widths() -> None:
    assert at_widths([NETWORK], ()) == ()
