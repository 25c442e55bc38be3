from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.errors import ConfigError
from harness.networks.blocks import Block, Conv, DenseLayer, Depthwise, MBConv
from harness.networks.wiring import Gather
from harness.tables.channels import ChannelLatency
from harness.tables.surface import rising
from harness.tables.table import LatencyTable, Row
from tests.tables import given

WIDTHS = (16, 24, 32, 48, 64, 96)


def tiled(channels_in: float, channels_out: float, tile: int = 8) -> float:
    """Return a latency that grows with the tiles of the output and the channels of the input."""
    return 0.01 + 1e-5 * channels_in * math.ceil(channels_out / tile) * tile


def grid(latency: Callable[[float, float], float], ins: tuple[int, ...] = WIDTHS, outs: tuple[int, ...] = WIDTHS) -> LatencyTable:
    rows = [Row.of(Conv(out), ((14, 14, given_),), float(latency(given_, out))) for given_ in ins for out in outs]
    return LatencyTable(given.ORIGIN, tuple(rows))


def conv(table: LatencyTable, step: tuple[int, int] | None = None) -> ChannelLatency:
    return ChannelLatency.of(table, Conv(16), ((14, 14, 16),), step)


def test_measured_widths_are_answered_as_measured() -> None:
    found = conv(grid(tiled))
    for given_ in WIDTHS:
        for out in WIDTHS:
            assert found.latency_ms(given_, out) == pytest.approx(tiled(given_, out))


def test_a_product_of_both_widths_is_found_between_them() -> None:
    found = conv(grid(lambda one, two: 0.01 + 1e-5 * one * two))
    assert found.latency_ms([20, 50], [40, 70]) == pytest.approx([0.01 + 1e-5 * 800, 0.01 + 1e-5 * 3500])
    assert found.held_out is not None
    assert found.held_out.networks == 16
    assert found.held_out.mape == pytest.approx(0, abs=1e-9)
    by_in, by_out = found.gradient(50, 40)
    assert (float(by_in), float(by_out)) == pytest.approx((40e-5, 50e-5))


def test_the_step_is_found_where_the_widths_show_it() -> None:
    odd = tuple(range(10, 66, 5))
    found = conv(grid(lambda one, two: 0.05 + 1e-4 * np.ceil(two / 8) * 8 + 1e-6 * one, odd, odd))
    assert found.step == (1, 8)
    assert found.latency_ms(20, 41) == found.latency_ms(20, 48)
    assert found.latency_ms(20, 40) < found.latency_ms(20, 41)


def test_without_a_step_in_the_data_none_is_claimed() -> None:
    assert conv(grid(tiled)).step == (1, 1)


def test_a_step_that_is_known_is_used_and_its_slope_goes_across_it() -> None:
    found = conv(grid(tiled), (1, 8))
    assert found.latency_ms(32, 49) == found.latency_ms(32, 56)
    assert float(found.gradient(32, 50)[1]) == pytest.approx(32e-5)
    assert float(found.gradient(32, 96)[1]) == pytest.approx(32e-5)


MEASURED = arrays.arrays(np.float64, (4, 5), elements=st.floats(0.01, 10))


@settings(max_examples=50)
@drawn(MEASURED, st.sampled_from([(1, 1), (1, 8), (4, 16)]))
def test_more_channels_never_take_less(measured_ms: np.ndarray[tuple[int, int], np.dtype[np.float64]], step: tuple[int, int]) -> None:
    found = ChannelLatency("conv", ((8, 12, 32, 40), (8, 16, 20, 24, 48)), measured_ms, step)
    ins, outs = np.meshgrid(np.arange(8, 41), np.arange(8, 49), indexing="ij")
    latency_ms = found.latency_ms(ins, outs)
    assert (np.diff(latency_ms, axis=0) >= -1e-9).all()
    assert (np.diff(latency_ms, axis=1) >= -1e-9).all()
    assert all((slope >= -1e-9).all() for slope in found.gradient(ins, outs))


@settings(max_examples=50)
@drawn(MEASURED)
def test_what_rises_already_is_left_alone(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    sorted_values = np.sort(np.sort(values, axis=0), axis=1)
    assert rising(sorted_values) == pytest.approx(sorted_values)


def test_the_nearest_rising_grid_averages_a_pair_in_the_wrong_order() -> None:
    assert rising(np.array([[1.0, 3.0, 2.0]])) == pytest.approx(np.array([[1.0, 2.5, 2.5]]))
    assert rising(np.array([[2.0, 2.0], [1.0, 3.0]])) == pytest.approx(np.array([[1.5, 2.0], [1.5, 3.0]]))


@pytest.mark.parametrize(
    ("channels", "side", "low", "high"), [((15, 32), "input", 16, 96), ((97, 32), "input", 16, 96), ((32, 8), "output", 16, 96)]
)
def test_nothing_is_said_outside_of_what_was_measured(channels: tuple[int, int], side: str, low: int, high: int) -> None:
    found = conv(grid(tiled))
    for ask in (found.latency_ms, found.gradient):
        with pytest.raises(ConfigError, match=f"{side} channels are outside of what was measured, {low} to {high}"):
            ask(*channels)


def test_no_number_is_outside() -> None:
    with pytest.raises(ConfigError, match="nan input channels are outside"):
        conv(grid(tiled)).latency_ms(np.nan, 32)


@pytest.mark.parametrize(
    ("block", "inputs"),
    [(Depthwise((3, 3)), [(14, 14, width) for width in WIDTHS]), (DenseLayer(10), [(width,) for width in WIDTHS])],
)
def test_blocks_of_one_width_are_followed_along_it(block: Block, inputs: list[tuple[int, ...]]) -> None:
    rows = tuple(Row.of(block, (shape,), 0.01 + 1e-4 * shape[-1]) for shape in inputs)
    found = ChannelLatency.of(LatencyTable(given.ORIGIN, rows), block, (inputs[0],))
    out = 10 if isinstance(block, DenseLayer) else 0
    assert found.latency_ms(40, out) == pytest.approx(0.014)
    assert [float(slope) for slope in found.gradient(40, out)] == pytest.approx([1e-4, 0])


def test_a_width_of_the_output_alone_is_followed() -> None:
    found = conv(grid(tiled, ins=(16,)), (1, 1))
    assert found.latency_ms(16, 40) == pytest.approx(tiled(16, 40))


def test_rows_that_differ_in_more_are_left_out() -> None:
    table = grid(tiled)
    others = [
        Row.of(Conv(40, (3, 3)), ((14, 14, 40),), 9.0),
        Row.of(Conv(40), ((7, 7, 40),), 9.0),
        Row.of(MBConv(40), ((14, 14, 40),), 9.0),
        Row("other", None, (), 9.0),
    ]
    assert conv(table.with_rows(others)).latency_ms(40, 40) == conv(table).latency_ms(40, 40)


def test_blocks_of_other_parts_but_as_many_channels_are_their_mean() -> None:
    parts = {(16, 16): 1.0, (8, 24): 5.0, (32, 32): 8.0}
    rows = [Row.of(Gather((0, 1)), ((7, 7, one), (7, 7, two)), latency_ms) for (one, two), latency_ms in parts.items()]
    found = ChannelLatency.of(LatencyTable(given.ORIGIN, tuple(rows)), Gather((0, 1)), ((7, 7, 16), (7, 7, 16)), (1, 1))
    assert found.latency_ms(32) == pytest.approx(3.0)


def test_widths_that_take_no_time_are_no_share_to_be_off_by() -> None:
    found = conv(grid(lambda one, two: 0.0 if one == two == 24 else one * two, (16, 24, 32), (16, 24, 32)), (1, 1))
    assert found.held_out is None


def test_a_hole_in_the_grid_is_named() -> None:
    table = grid(tiled)
    holed = LatencyTable(table.origin, tuple(row for row in table.rows if row.key != "conv-f24@14x14x32"))
    with pytest.raises(ConfigError, match="conv-f16 on 14x14: its widths are no grid, since channels 32 to 24 are not measured"):
        conv(holed)


def test_a_single_width_is_no_range() -> None:
    with pytest.raises(ConfigError, match="1 widths are measured"):
        conv(grid(tiled, (16,), (16,)))
