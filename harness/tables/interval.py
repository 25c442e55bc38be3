"""How far a measurement of a network may be from its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from harness.measure.stats import normal, student
from harness.tables.forms import CONSTANT, Fit, Floats
from harness.tables.table import Row

Amount = TypeVar("Amount", float, Floats)


class HalfWidth:
    """Half the width of the 95% prediction interval of a fitted form, for one network or an array of them.

    The variance of a measurement around its prediction has three parts: the error of a network, as those left out in cross-validation
    show it, the noise of their measurements included; what the coefficients may be off; and what the network's rows are less sure than
    those of the calibration's networks were. Student's t with the fit's degrees of freedom makes an interval of it.
    """

    def __init__(self, fit: Fit, usual_variance: float) -> None:
        """Take a fit, and the mean relative variance that the rows gave its networks."""
        self._columns = fit.form.free
        self._inverse = [[float(value) for value in line] for line in fit.inverse]
        self._spread = fit.spread
        self._usual = usual_variance
        self._quantile = student(fit.degrees)

    def of(self, latency_ms: Amount, variance: Amount, sums: Sequence[Amount]) -> Amount:
        """Return half the width in ms; `variance` (ms^2) is that of the rows' sum, `sums` those of the form's columns but the constant."""
        given = iter(sums)
        columns = [1.0 if column == CONSTANT else next(given) for column in self._columns]
        unsure = 0.0 * latency_ms
        for line, left in zip(self._inverse, columns, strict=True):
            for value, right in zip(line, columns, strict=True):
                unsure = unsure + value * left * right
        excess = variance - self._usual * latency_ms * latency_ms
        total = self._spread**2 * (latency_ms * latency_ms + unsure) + (excess + abs(excess)) / 2
        root: Amount = total**0.5
        return self._quantile * root


def relative_spreads(rows: Mapping[str, Row]) -> dict[str, float]:
    """Return the relative standard deviation of each row's warm latency, by its interval.

    That of rows without one is the others' median as if they had as few processes.
    """
    known = {key: _spread(row, row.interval_ms) for key, row in rows.items() if row.interval_ms is not None and row.warm_ms}
    usual = float(np.median([spread * max(1, rows[key].processes) ** 0.5 for key, spread in known.items()])) if known else 0.0
    return {key: known[key] if key in known else usual / max(1, row.processes) ** 0.5 for key, row in rows.items()}


def _spread(row: Row, interval_ms: tuple[float, float]) -> float:
    quantile = student(row.processes - 1) if row.processes > 2 else normal()
    return (interval_ms[1] - interval_ms[0]) / 2 / quantile / row.warm_ms
