from __future__ import annotations

import pytest

from harness.measure import drift
from harness.measure.drift import References
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


def moved(*slowdowns: float) -> list[References]:
    return [References(100.0 * slowdown, 300.0, 800.0) for slowdown in slowdowns]


def test_a_model_that_moves_half_as_much_has_an_elasticity_of_a_half() -> None:
    seen = moved(0.25, 1.0, 4.0, 1.0)
    latencies = [1000.0 * (one.mobile / 100.0) ** 0.5 for one in seen]
    assert drift.elasticity(latencies, seen) == pytest.approx(0.5, abs=0.01)
    assert drift.corrected(latencies, seen, USUAL) == pytest.approx([1000.0] * 4, rel=0.005)


def test_where_nothing_varies_a_model_is_taken_to_follow_the_core() -> None:
    seen = moved(1.2, 1.2, 1.2)
    assert drift.elasticity([600.0, 600.0, 600.0], seen) == 1.0
    assert drift.corrected([600.0, 600.0, 600.0], seen, USUAL) == pytest.approx([500.0] * 3)
    assert drift.corrected([600.0], moved(1.2), USUAL) == pytest.approx([500.0])


def test_no_model_runs_faster_where_the_reference_runs_slower() -> None:
    assert drift.elasticity([2000.0, 1000.0, 500.0], moved(0.5, 1.0, 2.0)) == 0


def test_repetitions_count_as_much_as_they_vary() -> None:
    spreads = (0.002, drift.PRIOR_SPREAD, 0.2)
    unmoved = [drift.elasticity([1000.0, 1000.0], moved(1 - spread, 1 + spread)) for spread in spreads]
    assert unmoved == pytest.approx([1.0, 0.5, 0.06], abs=0.01)
