"""How far predictions were from measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.tables.predict import Predictions
from harness.tables.table import HeldOut


def judge(predictions: Predictions, measured_ms: Sequence[float] | npt.NDArray[np.float64], repeatability: float | None = None) -> HeldOut:
    """Return how far the predictions of networks were from what was measured of them, in their order.

    `repeatability` is the relative standard deviation of the measurements themselves. Raises ConfigError where there are none, or not as
    many as predictions.
    """
    from scipy.stats import kendalltau

    if not len(predictions) or len(predictions) != len(measured_ms):
        raise ConfigError(f"{len(predictions)} predictions and {len(measured_ms)} measurements cannot be compared", "give one for each")
    measured = np.asarray(measured_ms, dtype=np.float64)
    errors = predictions.latency_ms / measured - 1
    ranked = len(np.unique(measured)) > 1 and len(np.unique(predictions.latency_ms)) > 1
    inside = None
    if predictions.interval_ms is not None:
        low, high = predictions.interval_ms.T
        inside = float(((low <= measured) & (measured <= high)).mean())
    return HeldOut(
        networks=len(measured),
        within_5=float((abs(errors) <= 0.05).mean()),
        within_10=float((abs(errors) <= 0.1).mean()),
        mape=float(abs(errors).mean()),
        rmse_ms=float(np.sqrt(((predictions.latency_ms - measured) ** 2).mean())),
        bias=float(errors.mean()),
        tau=float(kendalltau(predictions.latency_ms, measured).statistic) if ranked else None,
        coverage=inside,
        repeatability=repeatability,
    )
