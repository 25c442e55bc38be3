"""Rewards: their papers' numbers, and what must hold of any."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.rewards import Absolute, Constrained, Reward, Weighted, at_quantile, hard

T = {"latency_ms": 75.0}
REWARDS = [Weighted(T), hard(T), Absolute(T), Constrained(T)]
SHARES = st.floats(0.05, 20)


def test_to_double_the_latency_must_earn_5_percent() -> None:
    slow, fast = Weighted(T).of([1.05, 1.0], {"latency_ms": [150.0, 75.0]})
    assert slow == pytest.approx(fast, rel=0.001)


def test_the_hard_constraint_costs_nothing_up_to_the_target() -> None:
    found = hard(T).of([0.7, 0.7, 0.7], {"latency_ms": [10.0, 75.0, 150.0]})
    assert found.tolist() == pytest.approx([0.7, 0.7, 0.35])


def test_the_absolute_reward_is_largest_at_the_target() -> None:
    latencies = np.linspace(40, 120, 81)
    assert latencies[Absolute(T).of(0.7, {"latency_ms": latencies}).argmax()] == 75
    assert Absolute(T, beta=-0.1).of(0.7, {"latency_ms": 90.0}) == pytest.approx(0.68)


def test_whoever_keeps_the_constraint_comes_first() -> None:
    found = Constrained(T).of([0.0, 0.99, 0.99], {"latency_ms": [75.0, 76.0, 90.0]})
    assert found[0] > found[1] > found[2]


def test_resources_count_together() -> None:
    reward = Weighted({"latency_ms": 20.0, "size_bytes": 4e6})
    both = reward.of(0.7, {"latency_ms": 40.0, "size_bytes": 8e6})
    assert both == pytest.approx(0.7 * 2**-0.14)


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: type(reward).__name__)
@given(share=SHARES, wide=st.floats(0.0, 0.5), at=st.floats(0, 1))
def test_a_reward_lies_in_its_interval(reward: Reward, share: float, wide: float, at: float) -> None:
    low, high = 75 * share * (1 - wide), 75 * share * (1 + wide)
    least, largest = reward.interval(0.6, {"latency_ms": (low, high)})
    found = reward.of(0.6, {"latency_ms": low + at * (high - low)})
    assert least - 1e-9 <= found <= largest + 1e-9


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: type(reward).__name__)
def test_arrays_are_rewarded_as_numbers_are(reward: Reward) -> None:
    latencies = np.array([30.0, 75.0, 140.0])
    found = reward.of(np.array([0.5, 0.6, 0.7]), {"latency_ms": latencies})
    assert found.tolist() == [float(reward.of(q, {"latency_ms": ms})) for q, ms in zip((0.5, 0.6, 0.7), latencies, strict=True)]


def test_a_search_may_be_averse_to_risk() -> None:
    latencies, intervals = np.array([20.0, 20.0]), np.array([[19.0, 21.0], [16.0, 24.0]])
    sure, unsure = at_quantile(latencies, intervals, 0.975)
    assert (sure, unsure) == (pytest.approx(21), pytest.approx(24))
    assert at_quantile(latencies, intervals, 0.5).tolist() == [20, 20]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Weighted({}), "without targets"),
        (lambda: Weighted({"latency_ms": 0.0}), "target of latency_ms is 0"),
        (lambda: Weighted(T, beta=0.1), "beta is 0.1"),
        (lambda: Absolute(T, beta=0.0), "beta is 0"),
        (lambda: Weighted(T).of(0.5, {"size_bytes": 3.0}), "nobody tells"),
        (lambda: Weighted(T).of(0.5, {"latency_ms": [3.0, float("nan")]}), "no amount above 0"),
        (lambda: at_quantile(np.ones(1), None, 0.9), "without intervals"),
        (lambda: at_quantile(np.ones(1), np.ones((1, 2)), 1.0), "quantile is 1"),
    ],
)
def test_nonsense_is_one_error(make: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("ends", [(3.0, 2.0), (math.nan, 2.0)])
def test_an_interval_ends_above_where_it_begins(ends: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="intervals of latency_ms do not end above"):
        Weighted({"latency_ms": 1.0}).interval(0.5, {"latency_ms": ends})
