from __future__ import annotations

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.tables.held_out import judge
from harness.tables.predict import Predictions


def predictions(*latencies_ms: float, half_ms: float | None = None) -> Predictions:
    latency_ms = np.array(latencies_ms)
    return Predictions(latency_ms, None if half_ms is None else np.stack([latency_ms - half_ms, latency_ms + half_ms], axis=1))


def test_errors_are_relative_to_what_was_measured() -> None:
    found = judge(predictions(10.4, 18.4, 30.0, 48.0), [10.0, 20.0, 30.0, 40.0], 0.02)
    assert (found.networks, found.within_5, found.within_10, found.repeatability) == (4, 0.5, 0.75, 0.02)
    assert found.mape == pytest.approx((0.04 + 0.08 + 0 + 0.2) / 4)
    assert found.bias == pytest.approx((0.04 - 0.08 + 0 + 0.2) / 4)
    assert found.rmse_ms == pytest.approx(((0.16 + 2.56 + 0 + 64) / 4) ** 0.5)
    assert found.tau == 1
    assert found.coverage is None


def test_one_pair_of_six_in_the_wrong_order_costs_a_third_of_tau() -> None:
    assert judge(predictions(1, 2, 4, 3), [1, 2, 3, 4]).tau == pytest.approx(2 / 3)


def test_what_has_no_order_has_no_tau() -> None:
    assert judge(predictions(1.0), [1.0]).tau is None
    assert judge(predictions(1, 1), [1, 2]).tau is None


def test_coverage_is_the_share_of_measurements_inside_the_interval() -> None:
    assert judge(predictions(10, 20, 30, 40, half_ms=1), [11.0, 18.5, 30, 39]).coverage == 0.75


@pytest.mark.parametrize("measured_ms", [[], [1.0]])
def test_each_prediction_needs_its_measurement(measured_ms: list[float]) -> None:
    with pytest.raises(ConfigError, match="cannot be compared"):
        judge(predictions(1, 2), measured_ms)
