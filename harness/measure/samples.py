"""A measurement: every raw sample, the conditions it was taken under, and where it came from. Immutable."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self

from harness.errors import DeviceError, HarnessError
from latency_agent.protocol import Facts, InputShape, Repetition, SoloResult

REFERENCES = 2
"""The first models of a repetition are the references; the rest are candidates."""

METHOD_VERSION = 2
"""Raised whenever a change to how samples are taken makes new ones incomparable with stored ones.

2: the mobile reference in place of one bound by arithmetic; comparisons take samples in turn.
"""


@dataclass(frozen=True)
class Subject:
    """What is measured, on what, and how: two measurements with equal subjects measure the same thing.

    `governor` and `cores` are the settings of the device; `fingerprint` names the device itself. `design` is how the samples were
    arranged: "benchmark", or "compare" with the other model's SHA-256.
    """

    model_sha256: str
    fingerprint: str
    runtime: str
    runtime_version: str
    cores: tuple[int, ...]
    governor: str | None
    threads: int
    cold: bool
    seed: int
    shapes: tuple[InputShape, ...]
    design: str = "benchmark"
    method: int = METHOD_VERSION

    def key(self) -> str:
        """Return the hash under which the store finds measurements of this subject."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Provenance:
    """What a measurement's reader wants to know beyond its subject; `asked_interval` is the relative half-width it was to reach.

    `fresh`: it was to be measured whatever the store knew.
    """

    model: str
    model_size_bytes: int
    precision: str
    note: str | None
    device: str
    facts: Facts
    core_chosen_by: str
    python: str
    agent_sha256: str
    asked_interval: float
    max_time_s: float
    fresh: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a benchmark gave no measurement: the error's class name, its message, the worker's last words."""

    kind: str
    message: str
    stderr_tail: str

    @classmethod
    def of(cls, error: HarnessError) -> Self:
        """Return what is kept of an error."""
        return cls(type(error).__name__, error.message, error.stderr_tail if isinstance(error, DeviceError) else "")


@dataclass(frozen=True)
class TimedRepetition:
    """A repetition, when it was taken (UTC), in which session; `models` gives the SHA-256 per model index of its chunks.

    Index 0 and 1 are the reference models, the rest are candidates.
    """

    session: str
    taken_at: datetime
    models: tuple[str, ...]
    data: Repetition


@dataclass(frozen=True)
class Measurement:
    """All that was measured of one subject in one benchmark.

    `numbers` says what the outputs were compared with and how close they were ("within 1e-03 of Keras", "not compared (random
    operators)").
    """

    id: int
    subject: Subject
    provenance: Provenance
    measured_at: datetime
    solo: SoloResult
    numbers: str
    repetitions: tuple[TimedRepetition, ...]
