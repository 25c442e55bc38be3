"""Whether a table still fits, by candidates that a search measured."""

from __future__ import annotations

import pytest

from harness.search.drift import LEAST, drift_of
from harness.search.trial import Trial
from tests.tables import given


def trials(count: int, times: float) -> list[Trial]:
    """Return trials that were measured to take so many times what was predicted."""
    return [
        Trial(number, (number,), {"latency_ms": times * (1 + number)}, 0.5, 0.5, predicted={"latency_ms": 1.0 + number})
        for number in range(count)
    ]


def test_a_table_that_is_off_on_the_whole_no_longer_fits() -> None:
    table = given.of_space(given.mnasnet())
    found = drift_of(trials(LEAST, 1 / 1.2), "latency_ms", table)
    assert found is not None
    assert found.off == pytest.approx(0.2)
    fits = drift_of(trials(LEAST, 1.01), "latency_ms", table)
    assert fits is not None
    assert fits.off is None


def test_too_few_tell_nothing() -> None:
    assert drift_of(trials(LEAST - 1, 2.0), "latency_ms", given.of_space(given.mnasnet())) is None
