"""What the passes over a table's models come to: what each takes while nothing else slows the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

import numpy as np

from harness.convert.direct import DirectPrecision
from harness.errors import ConfigError
from harness.measure.drift import MOBILE
from harness.measure.rig import Rig
from harness.measure.samples import METHOD_VERSION, REFERENCES
from harness.measure.stats import disturbed, latencies_ns, student
from harness.networks.network import Network
from harness.networks.space import Space
from harness.tables.forms import Floats
from harness.tables.passes import Task
from harness.tables.table import Origin

WINDOW_NS = 5_000_000
"""A model's runs are averaged over moments of this length, as long as a chunk of its samples; a longer run is a moment by itself. The
quickest single runs would not do: of the thousands that a small block has some meet a moment so quiet that no network's run, which takes
milliseconds, ever lies in one as a whole, and sums of blocks fall short, the more the longer the network."""

QUICKEST = 0.05
"""Latencies in tables are those that this share of a model's moments stays below. On a machine that is shared, others slow a model by half
for tenths of a second to minutes, and a median says how often they did so while it was measured; its quickest moments say what it takes by
itself."""

_LEAST = 3


@dataclass(frozen=True)
class Seen:
    """What all processes of a model come to, in ns: its latency, how much it varies with the process (a standard deviation), its interval.

    `spread` is that of the jackknife over processes, such that the latency's own standard error is it over the square root of their number;
    None with one process, as is the 95% `interval` with fewer than three. `samples` counts all, `disturbed` those that others
    were seen to disturb.
    """

    latency: float
    spread: float | None
    interval: tuple[float, float] | None
    samples: int
    disturbed: int


def seen_of(task: Task, threads: int) -> Seen:
    """Return what a model takes, of which there is a process at least."""
    chunks = [[chunk for chunk in one.data.chunks if chunk.model == REFERENCES] for one in task.repetitions]
    processes = moments([[latencies_ns(chunk) for chunk in each] for each in chunks])
    flagged = sum(int(disturbed(chunk, threads).sum()) for each in chunks for chunk in each)
    latency, count = quickest(processes), len(processes)
    spread = interval = None
    if count > 1:
        without = [quickest([*processes[:index], *processes[index + 1 :]]) for index in range(count)]
        # The jackknife's standard error, times the root of the count: of a mean it would be the standard deviation.
        spread = math.sqrt(count * (count - 1)) * float(np.std(without))
    if spread is not None and count >= _LEAST:
        half = student(count - 1) * spread / math.sqrt(count)
        interval = latency - half, latency + half
    return Seen(latency, spread, interval, sum(len(chunk.wall_ns) for each in chunks for chunk in each), flagged)


def moments(processes: Sequence[Sequence[Floats]]) -> list[Floats]:
    """Return the mean latencies of as many runs in a row as fill a moment, of each process, from those in ns of its chunks' runs."""
    every = np.concatenate([runs for chunks in processes for runs in chunks])
    # As many wherever a model was slow: else slow moments would be more than they were.
    together = max(1, round(WINDOW_NS / float(np.quantile(every, QUICKEST))))
    return [np.concatenate([_means(runs, min(together, len(runs))) for runs in chunks]) for chunks in processes]


def _means(runs: Floats, together: int) -> Floats:
    return np.asarray(runs[: len(runs) // together * together].reshape(-1, together).mean(axis=1))


def quickest(processes: Sequence[Floats]) -> float:
    """Return the latency that the quickest moments of all processes stay below."""
    return float(np.quantile(np.concatenate(processes), QUICKEST))


def reference_ns(tasks: Sequence[Task]) -> float:
    """Return what the mobile reference model took beside models, likewise."""
    chunks = {chunk.start_ns: chunk for task in tasks for one in task.repetitions for chunk in one.data.chunks if chunk.model == MOBILE}
    return quickest(moments([[latencies_ns(chunk) for chunk in chunks.values()]]))


def noise_of(whole: Sequence[Task], threads: int) -> float | None:
    """Return how far a network's measurement is from its next one: the median of their relative standard errors."""
    found = [(seen_of(task, threads), len(task.repetitions)) for task in whole if task.repetitions]
    shares = [seen.spread / seen.latency / math.sqrt(count) for seen, count in found if seen.spread is not None]
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


def origin_of(rig: Rig, what: Space | Sequence[Network], precision: str, began: datetime, reference_ns: float | None = None) -> Origin:
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
        reference_ns=reference_ns,
    )
