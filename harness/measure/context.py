"""What the store knows of a device beside one measurement: the usual speed of its references, its spread between visits."""

from __future__ import annotations

from datetime import datetime

from harness.convert.reference import MEMORY_SHA256, MOBILE_SHA256
from harness.measure.drift import References
from harness.measure.samples import Subject
from harness.measure.store import Store
from harness.measure.summary import Context

REFERENCE_NAMES = (MOBILE_SHA256, MEMORY_SHA256, f"{MEMORY_SHA256} on return")
"""Under which names the store keeps the fields of `drift.References`."""


def context_of(store: Store, subject: Subject, began_at: datetime) -> Context:
    """Return what the store knows of the subject's device under the subject's settings, for a measurement that began at `began_at`."""
    return Context(
        baseline=_baseline(store, subject, None),
        baseline_then=_baseline(store, subject, began_at),
        spread=store.spread(subject),
    )


def _baseline(store: Store, subject: Subject, before: datetime | None) -> References | None:
    found = [store.reference_baseline(subject, name, before) for name in REFERENCE_NAMES]
    known = [median_ns for median_ns in found if median_ns is not None]
    return References(*known) if len(known) == len(found) else None
