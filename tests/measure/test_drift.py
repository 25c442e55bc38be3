from __future__ import annotations

import math

import pytest

from harness.measure import drift
from tests.measure.test_stats_given import chunk, repetition


def test_the_references_are_the_first_two_models() -> None:
    chunks = [chunk([median] * 3, model=model) for model, median in ((0, 100), (2, 7), (1, 300), (0, 100))]
    assert drift.reference_latencies_ns(repetition(*chunks), threads=1) == (100, 300)


def test_each_reference_has_its_own_median() -> None:
    assert drift.medians([(1.0, 30.0), (2.0, 20.0), (9.0, 10.0)]) == (2.0, 20.0)


def test_a_ratio_above_1_is_slower_than_usual() -> None:
    assert drift.ratios((110.0, 90.0), (100.0, 100.0)) == (1.1, 0.9)


def test_the_slowdown_is_the_geometric_mean() -> None:
    assert drift.slowdown((121.0, 100.0), (100.0, 100.0)) == pytest.approx(1.1)
    assert drift.slowdown((200.0, 50.0), (100.0, 100.0)) == pytest.approx(1.0)
    assert math.isclose(drift.slowdown((3.0, 5.0), (3.0, 5.0)), 1.0)
