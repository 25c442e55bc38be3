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


def test_the_slowdown_is_that_of_the_core() -> None:
    assert drift.slowdown(References(121.0, 900.0, 900.0), USUAL) == pytest.approx(1.21)
