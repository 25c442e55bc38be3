"""What the store knows of a device beside one measurement: the usual speed of its references, its spread between visits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from harness.convert.reference import ARITHMETIC_SHA256, MEMORY_SHA256
from harness.measure.drift import References
from harness.measure.samples import Subject
from harness.measure.store import Store

REFERENCE_NAMES = (ARITHMETIC_SHA256, MEMORY_SHA256, f"{MEMORY_SHA256} on return")
"""Under which names the store keeps the fields of `drift.References`."""


@dataclass(frozen=True)
class Context:
    """`baseline` holds the references' usual latencies in nanoseconds, None until there are enough sessions.

    `baseline_then` holds what they were known to be when the measurement began: it alone decides which repetitions count, so that a
    raw latency stays what it was. `spread` is the relative standard deviation between visits, None before an A/A test.
    """

    baseline: References | None
    baseline_then: References | None
    spread: float | None


def context_of(store: Store, subject: Subject, began_at: datetime) -> Context:
    """Return what the store knows of the subject's device under the subject's settings, for a measurement that began at `began_at`."""
    spread = store.spread(subject.fingerprint, subject.runtime, subject.runtime_version)
    return Context(
        baseline=_baseline(store, subject, None),
        baseline_then=_baseline(store, subject, began_at),
        spread=None if spread is None else spread.relative_sd,
    )


def _baseline(store: Store, subject: Subject, before: datetime | None) -> References | None:
    found = [store.reference_baseline(subject, name, before) for name in REFERENCE_NAMES]
    known = [median_ns for median_ns in found if median_ns is not None]
    return References(*known) if len(known) == len(found) else None
