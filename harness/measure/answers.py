"""What the store knows already of what is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from harness.measure import plan
from harness.measure.context import context_of
from harness.measure.result import Result
from harness.measure.samples import Subject
from harness.measure.store import Store
from harness.measure.summary import estimate, summarise


def stored_answer(store: Store, subject: Subject, config: plan.RunConfig, measured_here: Callable[[int], bool]) -> Result | None:
    """Return a steady result within the asked interval, or one that a call which was cut short could not tell of; None without one.

    `measured_here` says whether a benchmark is of this call, which is asked for the same model twice.
    """
    untold = store.unreported(
        subject,
        interval=config.interval,
        max_time_s=config.max_time_s,
        fresh=config.fresh,
        since=datetime.now(UTC) - plan.ANSWERED_WITHIN,
    )
    if untold is not None and not measured_here(untold):
        measurement = store.measurement(untold)
        return summarise(measurement, context_of(store, subject, measurement.repetitions[0].taken_at), from_store=True)
    for measurement in () if config.fresh else store.finished(subject):
        known = context_of(store, subject, measurement.repetitions[0].taken_at)
        now = estimate(measurement.repetitions, subject.model_sha256, subject.threads, replace(known, baseline_then=known.baseline))
        if now.flaw is not None:
            continue  # what was measured before there was a baseline turns out to have been disturbed
        result = summarise(measurement, known, from_store=True, asked=config.interval)
        if result.verdict == "steady":
            return result
    return None
