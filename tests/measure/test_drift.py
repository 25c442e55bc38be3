from __future__ import annotations

import math

import numpy as np
import pytest

from harness.measure import drift
from harness.measure.drift import Beside, References
from tests.measure.test_stats_given import chunk, repetition

USUAL = References(100.0, 300.0, 800.0)


def test_the_references_are_the_first_two_models_and_the_return_of_the_second() -> None:
    seen = ((1, 300, 5000), (0, 100, 150), (1, 300, 900), (2, 7, 9), (1, 300, 7000), (0, 100, 150), (1, 300, 700))
    chunks = [chunk([median] * 3, model=model, discarded_ns=(first, median)) for model, median, first in seen]
    assert drift.reference_latencies_ns(repetition(*chunks), threads=1) == USUAL


def test_each_figure_has_its_own_median() -> None:
    found = drift.medians([References(1.0, 30.0, 7.0), References(2.0, 20.0, 8.0), References(9.0, 10.0, 6.0)])
    assert found == References(2.0, 20.0, 7.0)


def test_a_ratio_above_1_is_slower_than_usual() -> None:
    assert drift.ratios(References(110.0, 270.0, 800.0), USUAL) == References(1.1, 0.9, 1.0)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (References(109.0, 329.0, 990.0), False),
        (References(111.0, 300.0, 800.0), True),
        (References(89.0, 300.0, 800.0), True),
        (References(100.0, 331.0, 800.0), True),
        (References(100.0, 300.0, 1001.0), True),
        (References(100.0, 300.0, 400.0), False),
    ],
)
def test_each_reference_has_its_bound(now: References, expected: bool) -> None:
    assert drift.drifted(now, USUAL) is expected


def beside(follows: float, *slowdowns: float) -> list[Beside]:
    """Return processes of a model of 1000 ns that follows the mobile reference so far."""
    logs = [math.log(slowdown) for slowdown in slowdowns]
    return [Beside(np.full(3, math.log(1000.0) + follows * log), np.full(3, math.log(100.0) + log)) for log in logs]


def test_a_model_that_moves_half_as_much_has_an_elasticity_of_a_half() -> None:
    seen = beside(0.5, 0.5, 1.0, 2.0, 1.0)
    assert drift.elasticity(seen) == pytest.approx(0.5, abs=0.01)
    assert drift.corrected_ns(seen, USUAL) == pytest.approx([1000.0] * 4, rel=0.005)


def test_where_nothing_varies_a_model_is_taken_to_follow_the_core() -> None:
    assert drift.elasticity(beside(0.0, 1.2, 1.2, 1.2)) == 1.0
    assert drift.corrected_ns(beside(1.0, 1.2, 1.2, 1.2), USUAL) == pytest.approx([1000.0] * 3)
    assert drift.corrected_ns(beside(1.0, 1.2), USUAL) == pytest.approx([1000.0])


def test_repetitions_count_as_much_as_they_vary() -> None:
    spreads = (0.002, drift.PRIOR_SPREAD, 0.2)
    unmoved = [drift.elasticity(beside(0.0, 1 - spread, 1 + spread)) for spread in spreads]
    assert unmoved == pytest.approx([0.99, 0.5, 0.01], abs=0.005)


def test_a_chunk_is_held_against_the_mobile_ones_next_to_it() -> None:
    seen = ((2, 5000), (0, 100), (1, 300), (2, 1000), (0, 200), (2, 2000), (1, 300), (0, 400))
    found = drift.beside_mobile(repetition(*(chunk([median] * 3, model=model) for model, median in seen)), 2, threads=1)
    assert np.exp(found.own).tolist() == pytest.approx([5000, 1000, 2000])
    assert np.exp(found.mobile).tolist() == pytest.approx([100, math.sqrt(100 * 200), math.sqrt(200 * 400)])


def test_what_slows_a_part_of_a_process_slows_the_reference_beside_it() -> None:
    slow = ((0, 100), (2, 1000), (0, 100), (2, 1414), (0, 200), (2, 2000), (0, 200))
    found = drift.beside_mobile(repetition(*(chunk([median] * 3, model=model) for model, median in slow)), 2, threads=1)
    assert drift.corrected_ns([found], USUAL) == pytest.approx([1000.0], rel=0.001)
