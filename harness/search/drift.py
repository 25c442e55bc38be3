"""Whether a table still predicts what its device does, as the candidates of a search tell that were measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.search.trial import Trial
from harness.tables.held_out import judge
from harness.tables.predict import Predictions
from harness.tables.table import HeldOut, LatencyTable
from harness.tables.validate import bound

LEAST = 5
"""Fewer candidates than this tell nothing of a table."""


@dataclass(frozen=True)
class Drift:
    """A table beside what was measured during a search. `off`: by how much it is off on the whole (0.08: it predicts 8% too much), where
    that is beyond what it says of itself, else None.
    """

    device: str
    error: HeldOut
    off: float | None


def drift_of(trials: Iterable[Trial], resource: str, table: LatencyTable) -> Drift | None:
    """Return how a table's predictions of a resource lie beside its measurements; None where too few candidates were measured."""
    pairs = {
        trial.tokens: (trial.predicted[resource], trial.used[resource])
        for trial in trials
        if resource in trial.predicted and trial.reward is not None
    }
    if len(pairs) < LEAST:
        return None
    predicted_ms, measured_ms = np.array(list(pairs.values())).T
    error = judge(Predictions(predicted_ms, None), measured_ms)
    return Drift(table.origin.device, error, error.bias if abs(error.bias) > bound(table) else None)
