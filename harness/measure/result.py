"""What is reported of a measurement. Everything here is derived from samples."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

Verdict = Literal["steady", "interval_not_reached", "disturbed", "drifted", "throttled", "unsteady"]

VERDICTS: tuple[Verdict, ...] = ("steady", "interval_not_reached", "disturbed", "drifted", "throttled", "unsteady")
"""From best to worst; the worst that applies is reported."""

Phase = Literal["converting", "waiting", "measuring", "cooling", "aside", "stored", "done", "failed"]


@dataclass(frozen=True)
class Result:
    """One benchmark, for people and programs. Its fields are the keys of `harness bench --json`.

    `interval_ms` is the 95% interval of `latency_ms`, None with fewer than 3 repetitions. `interval_scope` says what it speaks for:
    "visits" when it includes the spread between visits from an A/A test, "these minutes" when no such test is stored.
    `precision` is the model's number format. `settings` names what was set on the device all the while, and put back later.
    `reference_drift` is how far the mobile reference model ran from its baseline (0.03: 3% slower), None without a baseline;
    `elasticity` is how much of that the model follows (1: as much). The store finds the raw samples by `measurement_id`.
    """

    model: str
    sha256: str
    device: str
    runtime: str
    runtime_version: str
    precision: str
    core: int
    cores: tuple[int, ...]
    core_chosen_by: str
    governor: str | None
    settings: tuple[str, ...]
    threads: int
    cold: bool
    latency_ms: float
    latency_corrected_ms: float | None
    interval_ms: tuple[float, float] | None
    interval_scope: str
    p5_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    min_ms: float
    init_ms: float
    first_ms: float
    peak_memory_bytes: int
    model_size_bytes: int
    delegated_nodes: int | None
    total_nodes: int | None
    runs: int
    processes: int
    disturbed_share: float
    reference_drift: float | None
    elasticity: float | None
    numbers: str
    note: str | None
    warnings: tuple[str, ...]
    verdict: Verdict
    from_store: bool
    measured_at: datetime
    fingerprint: str
    measurement_id: int


@dataclass(frozen=True)
class FailedResult:
    """A model that could not be measured on `device`, and why; `stderr_tail` holds the worker's last words."""

    model: str
    device: str
    error: str
    stderr_tail: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two candidates measured in alternation. `ratio` is latency of B over latency of A.

    `difference` is True where the 95% interval of the ratio leaves out 1. `sentence` says the outcome in plain words. `a_ms` and `b_ms` are
    the medians seen while alternating; the store finds the samples of both by `measurement_ids`.
    """

    a: str
    b: str
    device_a: str
    device_b: str
    threads: int
    a_ms: float
    b_ms: float
    ratio: float
    interval: tuple[float, float]
    difference: bool
    processes: int
    pairs: int
    sentence: str
    verdict: Verdict
    measured_at: datetime
    measurement_ids: tuple[int, int]


@dataclass(frozen=True)
class Equality:
    """Two devices tested for equality: `equal` where every comparison is steady and stays `within` a ratio of 1, with its interval.

    `farthest` is how far the end of an interval came from 1 at most (0.03: 3%).
    """

    a: str
    b: str
    within: float
    farthest: float
    equal: bool
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class AAReport:
    """The same model as two candidates, many times: what this rig can and cannot see.

    `false_positives` of `pairs` comparisons claimed a difference where there is none. `smallest_difference` is the relative difference that
    a comparison at default settings would find nine times of ten. `between_visit_spread` is the relative standard deviation of a
    model's latency between visits, beyond what its own repetitions show; it is stored and enters later intervals. It rests on the
    undisturbed ones of the visits where they are 3 and at least half, else on all: the results of such a device will be disturbed too.
    """

    model: str
    device: str
    runtime: str
    pairs: int
    false_positives: int
    false_positive_rate: float
    smallest_difference: float
    between_visit_spread: float
    visits: int
    latency_ms: float
    measured_at: datetime


@dataclass(frozen=True)
class Check:
    """One line of `harness doctor`. `advice` says what to do where `ok` is False; None in `ok` means that the device does not tell."""

    name: str
    ok: bool | None
    found: str
    advice: str


@dataclass(frozen=True)
class Progress:
    """What a long call is doing now, for one model; `half_width` is relative, None before an interval exists.

    `device` is where, and `done` of `total` models have their outcome there. What concerns no model, such as a setup that takes long, is
    said in `note`, and `model` is empty.
    """

    device: str
    model: str
    phase: Phase
    repetitions: int
    half_width: float | None
    spent_s: float
    max_time_s: float
    done: int = 0
    total: int = 1
    note: str = ""

    @classmethod
    def of_device(cls, device: str, phase: Phase, note: str) -> Self:
        """Return what concerns a device and no model of it."""
        return cls(device, "", phase, 0, None, 0.0, 0.0, note=note.removeprefix(f"{device}: ").replace("\n", "; "))
