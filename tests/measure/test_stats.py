from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure import stats
from harness.measure.stats import (
    RepetitionEstimate,
    between_visits,
    disturbed,
    estimate_repetition,
    flaws,
    interval,
    limited,
    ratio_of_pairs,
    shift,
    unreachable,
)
from tests.measure.test_stats_given import CONDITIONS, around, chunk, repetition

LATENCIES = st.lists(st.floats(1.0, 1e9), min_size=3, max_size=20)


def test_the_latency_of_a_sample_is_one_run() -> None:
    assert stats.latencies_ns(chunk([800, 1600], repeats=8)).tolist() == [100, 200]


@pytest.mark.parametrize(
    ("wall_ns", "lost_ns", "switches", "flagged"),
    [
        (1_000_000, 0, 0, False),
        (1_000_000, -200, 0, False),
        (1_000_000, 6_000, 0, False),
        (1_000_000, 6_001, 0, True),
        (10_000, 1_050, 0, False),
        (10_000, 1_051, 0, True),
        (1_000_000, 1_000, 1, False),
        (1_000_000, 1_001, 1, True),
        (1_000_000, 0, 5, False),
    ],
)
def test_with_one_thread_a_sample_is_disturbed_where_time_was_lost(wall_ns: int, lost_ns: int, switches: int, flagged: bool) -> None:
    assert disturbed(chunk([wall_ns], lost_ns=lost_ns, switches=switches), threads=1).tolist() == [flagged]


def test_with_several_threads_a_sample_is_disturbed_where_its_cpu_time_falls_behind_that_of_quiet_ones() -> None:
    # Three threads' worth of CPU time in quiet samples; the last two samples got 4% and 6% less.
    found = disturbed(chunk([1_000_000] * 20, lost_ns=[-2_000_000] * 18 + [-1_880_000, -1_820_000]), threads=4)
    assert found.tolist() == [False] * 19 + [True]


def test_switches_count_for_nothing_with_several_threads() -> None:
    assert not disturbed(chunk([1_000_000] * 5, switches=9), threads=4).any()


def test_disturbed_samples_do_not_move_the_estimate() -> None:
    wall = np.concatenate([around(100_000, 1), np.full(30, 150_000)])
    lost = np.concatenate([np.zeros(120, np.int64), np.full(30, 50_000)])
    found = estimate_repetition(repetition(chunk(wall, lost_ns=lost)), 2, threads=1)
    assert found.latency_ns == np.median(wall[:120])
    assert (found.samples, found.disturbed, found.runs) == (150, 30, 150)


def test_where_nearly_all_is_disturbed_all_samples_count() -> None:
    wall = np.array([100_000] * 2 + [150_000] * 30)
    lost = np.array([0] * 2 + [50_000] * 30)
    assert estimate_repetition(repetition(chunk(wall, lost_ns=lost)), 2, threads=1).latency_ns == 150_000


def test_an_estimate_is_of_its_own_model_alone() -> None:
    found = estimate_repetition(repetition(chunk([10] * 3, model=0), chunk([700, 800, 900], repeats=4), chunk([800] * 2, repeats=4)), 2, 1)
    assert found.latency_ns == 200
    assert (found.samples, found.runs) == (5, 20)


def test_the_slowest_frequency_is_over_all_chunks() -> None:
    chunks = [chunk([10] * 3, model=model, frequency_khz=khz) for model, khz in ((0, 2_000_000), (2, 1_800_000))]
    assert estimate_repetition(repetition(*chunks), 2, 1).slowest_frequency == 0.9
    assert estimate_repetition(repetition(chunk([10] * 3)), 2, 1).slowest_frequency is None


def test_a_step_is_found_with_its_size() -> None:
    latencies = np.concatenate([around(100_000, 1), around(110_000, 2)]).astype(np.float64)
    assert shift(latencies) == pytest.approx(0.10, abs=0.005)
    assert shift(latencies[::-1]) == pytest.approx(0.10 / 1.1, abs=0.005)


def test_a_late_warm_up_is_found() -> None:
    latencies = np.concatenate([around(130_000, 1, samples=60), around(100_000, 2, samples=180)]).astype(np.float64)
    assert shift(latencies) > 0.2


def test_a_trend_is_found() -> None:
    trend = around(100_000, 1, samples=240) * np.linspace(1, 1.2, 240)
    assert shift(trend) > 0.05


def test_noise_is_no_shift() -> None:
    found = [shift(around(100_000, seed, noise=0.02).astype(np.float64)) for seed in range(300)]
    assert max(found) < stats.STEADY_SHIFT / 2
    assert np.mean(np.array(found) > 0) < 0.1


def test_a_burst_that_passes_is_no_shift() -> None:
    latencies = around(100_000, 1).astype(np.float64)
    latencies[50:60] *= 3
    assert shift(latencies) < 0.005


def test_too_few_samples_show_no_shift() -> None:
    assert shift(np.array([1.0] * 3 + [2.0] * 4)) == 0
    assert shift(np.array([1.0] * 4 + [2.0] * 4)) == 1


SOUND = RepetitionEstimate(latency_ns=1e5, runs=100, samples=100, disturbed=0, shift=0.0, slowest_frequency=None)


@pytest.mark.parametrize(
    ("changed", "drifted", "found"),
    [
        ({}, False, ()),
        ({"disturbed": 10}, False, ()),
        ({"disturbed": 11}, False, ("disturbed",)),
        ({}, True, ("drifted",)),
        ({"shift": 0.049}, False, ()),
        ({"shift": 0.051}, False, ("unsteady",)),
        ({"slowest_frequency": 0.9}, False, ()),
        ({"slowest_frequency": 0.9, "shift": 0.03}, False, ("throttled",)),
        ({"slowest_frequency": 0.96, "shift": 0.03}, False, ()),
        ({"limited": True}, False, ("throttled",)),
        ({"slowest_frequency": 0.9, "shift": 0.06, "disturbed": 90}, True, ("disturbed", "drifted", "throttled", "unsteady")),
    ],
)
def test_a_repetition_has_the_flaws_that_its_samples_show(changed: dict[str, float], drifted: bool, found: tuple[str, ...]) -> None:
    assert flaws(RepetitionEstimate(**(vars(SOUND) | changed)), drifted=drifted) == found


@pytest.mark.parametrize(("count", "t"), [(3, 4.302653), (5, 2.776445), (10, 2.262157), (31, 2.042272)])
def test_an_interval_is_students_t_over_repetitions(count: int, t: float) -> None:
    values = 100.0 + np.arange(count) - (count - 1) / 2
    found = interval(values.tolist(), between_visits=0.0)
    half = t * values.std(ddof=1) / math.sqrt(count)
    assert found.centre == pytest.approx(100)
    assert found.low == pytest.approx(100 - half)
    assert found.high == pytest.approx(100 + half)
    assert found.half_width == pytest.approx(half / 100)


def test_the_spread_between_visits_adds_in_quadrature() -> None:
    within = interval([99.0, 100.0, 101.0], between_visits=0.0).half_width
    both = interval([99.0, 100.0, 101.0], between_visits=0.03).half_width
    assert within is not None
    assert both == pytest.approx(math.hypot(within, 1.959964 * 0.03))


@pytest.mark.parametrize("values", [[5.0], [5.0, 6.0]])
def test_fewer_than_3_repetitions_give_no_interval(values: list[float]) -> None:
    found = interval(values, between_visits=0.01)
    assert (found.low, found.high, found.half_width) == (None, None, None)
    assert found.centre == np.mean(values)


@given(LATENCIES, st.floats(0, 0.2))
def test_an_interval_holds_its_centre_which_lies_among_the_repetitions(values: list[float], spread: float) -> None:
    found = interval(values, spread)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.centre <= found.high
    assert min(values) * (1 - 1e-9) <= found.centre <= max(values) * (1 + 1e-9)


@given(LATENCIES, st.floats(1e-3, 1e3))
def test_an_interval_scales_with_its_unit(values: list[float], unit: float) -> None:
    one, other = interval(values, 0.01), interval([value * unit for value in values], 0.01)
    assert other.centre == pytest.approx(one.centre * unit)
    assert other.half_width == pytest.approx(one.half_width, rel=1e-9, abs=1e-9)


def test_one_stray_repetition_hardly_moves_the_centre() -> None:
    assert interval([100.0, 100.5, 99.5, 100.2, 300.0], 0.0).centre == pytest.approx(100.3, abs=0.5)


@pytest.mark.parametrize("count", [3, 5, 8, 20])
def test_95_of_100_intervals_hold_the_truth(count: int) -> None:
    generator = np.random.default_rng(count)
    trials = 3000
    held = 0
    for values in generator.normal(100.0, 1.0, (trials, count)):
        found = interval(values.tolist(), 0.0)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 100 <= found.high
    # Of 3000 intervals that hold 95% of the time, 0.4% is one standard deviation.
    assert 0.935 < held / trials < 0.965


def test_95_of_100_intervals_of_single_visits_hold_the_truth_beyond_them() -> None:
    generator = np.random.default_rng(1)
    trials = 3000
    held = 0
    for visit in generator.normal(100.0, 2.0, trials):
        found = interval(generator.normal(visit, 0.5, 5).tolist(), between_visits=0.02)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 100 <= found.high
    assert 0.935 < held / trials < 0.975


def test_a_precision_below_the_spread_between_visits_is_unreachable() -> None:
    near = [100.0, 100.1, 99.9, 100.0, 100.05]
    assert unreachable(near, 0.02, 0.02)
    assert not unreachable(near, 0.01, 0.02)
    assert not unreachable(near, 0.0, 0.0001)
    assert not unreachable(near[:2], 0.02, 0.02)


def test_while_repetitions_still_help_nothing_is_unreachable() -> None:
    assert not unreachable([90.0, 110.0, 100.0], 0.02, 0.02)


def test_the_ratio_of_pairs_is_students_t_over_processes() -> None:
    found = ratio_of_pairs([[1.0, 1.1, 1.2], [1.1], [1.1 * 1.02], [1.1 / 1.02]])
    half = 3.182446 * math.log(1.02) * math.sqrt(2 / 3) / 2
    assert found.ratio == pytest.approx(1.1)
    assert found.low == pytest.approx(1.1 / math.exp(half))
    assert found.high == pytest.approx(1.1 * math.exp(half))
    assert found.pairs == 6


def test_a_stray_pair_does_not_move_the_ratio() -> None:
    assert ratio_of_pairs([[2.0, 2.0, 9.0]] * 3).ratio == pytest.approx(2.0)


@given(st.lists(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=5), min_size=3, max_size=6))
def test_the_ratio_of_b_to_a_is_one_over_that_of_a_to_b(processes: list[list[float]]) -> None:
    odd = [process if len(process) % 2 else process[:-1] for process in processes]
    one, other = ratio_of_pairs(odd), ratio_of_pairs([[1 / pair for pair in process] for process in odd])
    assert other.ratio == pytest.approx(1 / one.ratio)
    assert other.low == pytest.approx(1 / one.high)


def test_a_planted_spread_between_visits_is_recovered() -> None:
    generator = np.random.default_rng(7)
    found = []
    for _ in range(60):
        visits = generator.normal(100.0, 1.5, 40)
        found.append(between_visits([generator.normal(visit, 1.0, 5).tolist() for visit in visits]))
    assert np.mean(found) == pytest.approx(0.015, rel=0.05)
    assert np.std(found) < 0.003


def test_what_repetitions_explain_is_no_spread_between_visits() -> None:
    generator = np.random.default_rng(7)
    found = [between_visits([generator.normal(100.0, 1.0, 5).tolist() for _ in range(40)]) for _ in range(60)]
    assert np.median(found) < 0.001
    assert between_visits([[100.0, 101.0]] * 5) == 0


def test_quantiles_are_those_of_the_tables() -> None:
    assert stats.student(4) == pytest.approx(2.776445)
    assert stats.student_power(4, 0.9) == pytest.approx(1.533206)
    assert stats.normal() == pytest.approx(1.959964)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({}, {}, False),
        ({"cooling_state": 0}, {"cooling_state": 0}, False),
        ({"cooling_state": 0}, {"cooling_state": 1}, True),
        ({"cooling_state": 2}, {"cooling_state": 0}, True),
        ({"throttle_flags": 0x0}, {"throttle_flags": 0x0}, False),
        ({"throttle_flags": 0x50000}, {"throttle_flags": 0x50000}, False),  # it was throttled once, before
        ({"throttle_flags": 0x0}, {"throttle_flags": 0x50005}, True),
        ({"throttle_flags": 0x0}, {"throttle_flags": 0x20000}, True),  # for a moment in between
        ({"throttle_flags": 0x50000}, {"throttle_flags": 0x50008}, True),
        ({"throttle_flags": 0x50005}, {"throttle_flags": 0x50000}, True),
        ({"thermal_status": 0, "battery_saver": False}, {"thermal_status": 0, "battery_saver": False}, False),
        ({"thermal_status": 0}, {"thermal_status": 1}, True),
        ({"thermal_status": 3}, {"thermal_status": 0}, True),
        ({"battery_saver": False}, {"battery_saver": True}, True),
    ],
)
def test_a_device_that_was_held_back_is_noticed(before: dict[str, Any], after: dict[str, Any], found: bool) -> None:
    assert limited(replace(CONDITIONS, **before), replace(CONDITIONS, **after)) is found
