"""What the store gives back beside measurements: sessions, solos, benchmarks without their samples, comparisons, spreads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from harness.measure.samples import Failure, Provenance, Subject
from latency_agent.protocol import Facts, SoloResult

Outcome = Literal["measured", "failed", "unfinished"]
ComparisonKind = Literal["compare", "aa"]


@dataclass(frozen=True)
class Session:
    """One live agent on one device."""

    device: str
    fingerprint: str
    runtime: str
    runtime_version: str
    agent_sha256: str
    facts: Facts


@dataclass(frozen=True)
class Solo:
    """What is stored of the repetition that loads one model alone; `result` has no outputs."""

    result: SoloResult
    numbers: str


@dataclass(frozen=True)
class Pairing:
    """Two benchmarks that are taken in alternation, by their ids: the same id twice for a model against itself in one process."""

    a: int
    b: int

    @property
    def benchmarks(self) -> tuple[int, ...]:
        """Both, or the one."""
        return tuple(dict.fromkeys((self.a, self.b)))


@dataclass(frozen=True)
class Equivalence:
    """What a test of two devices found: `equal` where every model's ratio, with its interval, stayed `within` that of 1.

    `farthest` is how far the end of an interval came from 1 at most (0.03: 3%).
    """

    tested_at: datetime
    within: float
    farthest: float
    equal: bool


@dataclass(frozen=True)
class Unmeasured:
    """A model that failed before a benchmark of it could start."""

    device: str
    model: str
    failed_at: datetime
    failure: Failure


@dataclass(frozen=True)
class Row:
    """One stored benchmark without its samples; `failure` is None unless it failed. `measured_at` is when it ended, else when it began."""

    id: int
    subject: Subject
    provenance: Provenance
    measured_at: datetime
    outcome: Outcome
    failure: Failure | None
