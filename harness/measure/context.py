"""What the store knows of a device beside one measurement: the usual speed of its references, its spread between visits."""

from __future__ import annotations

from dataclasses import dataclass

from harness.convert.reference import ARITHMETIC_SHA256, MEMORY_SHA256
from harness.measure.drift import References
from harness.measure.samples import Subject
from harness.measure.store import Store


@dataclass(frozen=True)
class Context:
    """`baseline` holds the references' usual latencies in nanoseconds, None until there are enough sessions.

    `spread` is the relative standard deviation between visits, None before an A/A test.
    """

    baseline: References | None
    spread: float | None


def context_of(store: Store, subject: Subject) -> Context:
    """Return what the store knows of the subject's device under the subject's settings."""
    first, second = (store.reference_baseline(subject, sha256) for sha256 in (ARITHMETIC_SHA256, MEMORY_SHA256))
    spread = store.spread(subject.fingerprint, subject.runtime, subject.runtime_version)
    return Context(
        baseline=None if first is None or second is None else (first, second),
        spread=None if spread is None else spread.relative_sd,
    )
