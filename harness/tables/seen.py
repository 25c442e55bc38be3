"""What the passes over a table's models come to, at the usual speed of the mobile reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from harness.convert.direct import DirectPrecision
from harness.errors import ConfigError
from harness.measure import drift, stats
from harness.measure.rig import Rig
from harness.measure.samples import METHOD_VERSION, REFERENCES
from harness.networks.network import Network
from harness.networks.space import Space
from harness.tables.passes import Task
from harness.tables.table import Origin


@dataclass(frozen=True)
class Seen:
    """What all repetitions of one model come to, at the usual speed of the mobile reference."""

    interval: stats.Interval
    samples: int
    disturbed: int
    spread: float | None


def usual_of(tasks: Sequence[Task], threads: int) -> drift.References:
    """Return what the references usually took during the build."""
    return drift.medians([drift.reference_latencies_ns(one.data, threads) for task in tasks for one in task.repetitions])


def seen_of(task: Task, usual: drift.References, threads: int) -> Seen:
    """Return what a model takes where the mobile reference runs at its usual speed."""
    estimates = [stats.estimate_repetition(one.data, REFERENCES, threads) for one in task.repetitions]
    references = [drift.reference_latencies_ns(one.data, threads) for one in task.repetitions]
    latencies = drift.corrected([one.latency_ns for one in estimates], references, usual)
    return Seen(
        stats.interval(latencies, 0.0), sum(one.samples for one in estimates), sum(one.disturbed for one in estimates), _sd(latencies)
    )


def _sd(values: Sequence[float]) -> float | None:
    import numpy as np

    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def noise_of(whole: Sequence[Task], usual: drift.References, threads: int) -> float | None:
    """Return how far a network's measurement is from its next one: the relative standard deviation of a mean over its processes."""
    found = [(seen_of(task, usual, threads), len(task.repetitions)) for task in whole if not task.failed]
    shares = [seen.spread / seen.interval.centre / count**0.5 for seen, count in found if seen.spread is not None]
    return median(shares) if shares else None


def settings_of(origin: Origin) -> tuple[DirectPrecision, int]:
    """Return the precision and the threads that rows were measured with; raises ConfigError for a table that does not tell them."""
    if origin.precision not in ("float32", "int8") or origin.threads is None:
        raise ConfigError(f"the table of {origin.device} does not say how it was measured", "build one: harness table build")
    return "int8" if origin.precision == "int8" else "float32", origin.threads


def check_here(origin: Origin, rig: Rig) -> None:
    """Raise ConfigError where a device is not the one, or not set as, rows were measured on."""
    if apart := origin.differences(origin_of(rig, (), origin.precision or "", datetime.now(UTC))):
        raise ConfigError(f"the table no longer fits {rig.device.name}: {'; '.join(apart)}", "build it again: harness table build")


def origin_of(rig: Rig, what: Space | Sequence[Network], precision: str, began: datetime) -> Origin:
    """Return where rows that are measured now come from."""
    session = rig.session
    return Origin(
        device=rig.device.name,
        fingerprint=session.fingerprint,
        cpu_model=session.facts.cpu_model,
        runtime=session.hello.runtime,
        runtime_version=session.hello.runtime_version,
        cores=session.placement.cores,
        governor=session.placement.governor,
        threads=rig.threads,
        precision=precision,
        space=what.name if isinstance(what, Space) else None,
        method=METHOD_VERSION,
        began_at=began,
        ended_at=datetime.now(UTC),
        harness_version=version("latency-harness"),
    )
