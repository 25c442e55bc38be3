from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.search.front import hypervolume, pareto_front
from harness.search.trial import Trial


def trial(number: int, quality: float | None, latency_ms: float) -> Trial:
    return Trial(number, (number,), {"latency_ms": latency_ms}, quality, quality)


def test_the_front_holds_what_nothing_dominates() -> None:
    trials = [trial(0, 0.7, 10), trial(1, 0.8, 20), trial(2, 0.75, 25), trial(3, 0.9, 30), trial(4, 0.7, 10), trial(5, None, 1)]
    assert [one.number for one in pareto_front(trials, "latency_ms")] == [0, 1, 3]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=30))
def test_each_trial_is_on_the_front_or_dominated_by_one_that_is(pairs: list[tuple[int, int]]) -> None:
    trials = [trial(number, quality, latency) for number, (quality, latency) in enumerate(pairs)]
    front = pareto_front(trials, "latency_ms")
    for one in trials:
        assert any((other.quality or 0) >= (one.quality or 0) and other.used["latency_ms"] <= one.used["latency_ms"] for other in front)
    qualities = [one.quality for one in front]
    assert qualities == sorted(set(qualities), key=lambda quality: quality or 0)


def test_the_hypervolume_is_the_area_up_to_the_reference() -> None:
    front = pareto_front([trial(0, 0.5, 10), trial(1, 0.8, 20), trial(2, 0.9, 50)], "latency_ms")
    assert hypervolume(front, "latency_ms", most=40) == pytest.approx(0.5 * 30 + 0.3 * 20)
    assert hypervolume(front, "latency_ms", most=40, least=0.6) == pytest.approx(0.2 * 20)
    assert hypervolume([], "latency_ms", most=40) == 0


def test_a_resource_that_nobody_tells_is_one_error() -> None:
    with pytest.raises(ConfigError, match="trial 0 does not tell its size_bytes"):
        pareto_front([trial(0, 0.5, 1)], "size_bytes")
