"""A latency table built on a device: blocks and whole networks measured in passes, calibrated, judged, written."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from harness.convert.direct import DirectPrecision
from harness.devices.inventory import load_inventory
from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure import drift, plan, stats
from harness.measure.affinity import kept_off
from harness.measure.batch import BLOCKS, COLD_BLOCKS, NETWORKS
from harness.measure.result import Progress
from harness.measure.rig import Rig
from harness.measure.samples import METHOD_VERSION
from harness.measure.store import Store
from harness.networks.network import Network
from harness.networks.space import Space
from harness.tables.calibrate import calibrate
from harness.tables.held_out import judge
from harness.tables.listing import Timed, blocks_of_networks, blocks_of_space, models_of, network_model
from harness.tables.passes import Passes, Task
from harness.tables.table import Calibrated, LatencyTable, Origin, Row

WARM_PASSES, COLD_PASSES, NETWORK_PASSES = 7, 2, 7
CALIBRATION, HELD_OUT = 20, 20
_LEAST_PASSES = 3
_TRIES = 20


@dataclass(frozen=True)
class _Seen:
    """What all repetitions of one model come to, at the usual speed of the mobile reference."""

    interval: stats.Interval
    samples: int
    disturbed: int
    spread: float | None


def build(
    what: Space | Sequence[Network],
    path: StrPath,
    *,
    device: str | None = None,
    precision: DirectPrecision = "float32",
    threads: int = 1,
    calibration: int = CALIBRATION,
    held_out: int = HELD_OUT,
    max_time_s: float | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LatencyTable:
    """Return the table of a space's blocks, or of those of networks, measured on a device, and write it to `path`.

    `calibration` and `held_out` random networks of the space (of networks, they themselves) are measured with the blocks: by the first the
    form of prediction is chosen, by the others it is judged. A build that was cut short goes on for a day. After `max_time_s` no further
    pass begins, but for the three that a row needs at least. Raises ConfigError for a space without blocks or with too many, and what
    a session raises.
    """
    networks = _networks(what, calibration + held_out)
    blocks = blocks_of_space(what) if isinstance(what, Space) else blocks_of_networks(what)
    found = load_inventory(inventory)
    tell = progress or (lambda _: None)
    chosen = found.device(device)

    def note(text: str) -> None:
        tell(Progress.of_device(chosen.name, "waiting", text))

    with ExitStack() as stack:
        store = stack.enter_context(Store.open(results or found.results_dir))
        rig = stack.enter_context(Rig(chosen, threads, store, note))
        stack.enter_context(kept_off(rig.session.occupied_cores))
        note(f"writing models of {len(blocks)} blocks")
        models = models_of(blocks, precision)
        wholes = [network_model(network, precision) for network in networks]
        rig.acquire(note)
        began = datetime.now(UTC)
        passes = Passes(rig, note)
        warm = [passes.task(one.model, BLOCKS) for one in models]
        cold = [passes.task(one.model, COLD_BLOCKS, cold=True) for one in models]
        whole = [passes.task(model, NETWORKS) for model in wholes]
        _measure(passes, warm, cold, whole, max_time_s, chosen.name, tell)
        usual = _usual([*warm, *whole], threads)
        rows = tuple(row for one, hot, chill in zip(models, warm, cold, strict=True) for row in _rows(one, hot, chill, usual, threads))
        table = LatencyTable(_origin(rig, what, precision, threads, began), rows)
        measured = [
            Calibrated.of(network, _seen(task, usual, threads).interval.centre / 1e6, measurement_id=task.benchmark)
            for network, task in zip(networks, whole, strict=True)
            if not task.failed and not table.missing(network)
        ]
        noise = _noise(whole, usual, threads)
        known = [replace(one, repeatability=noise) for one in measured]
        kept = known[: len(known) - held_out] if len(known) > held_out else known
        table = replace(table, calibration=calibrate(table, kept))
        table.save(Path(path))  # what was measured is kept, also where the judgement fails
        table = _judged(table, {one.name: one for one in networks}, known[len(kept) :], noise)
        table.save(Path(path))
        passes.finish([*warm, *cold, *whole])
    return table


def _networks(what: Space | Sequence[Network], count: int) -> list[Network]:
    if not isinstance(what, Space):
        if not what:
            raise ConfigError("no networks to take blocks from", "harness table build --network FILE")
        return list(what)
    generator = random.Random(plan.SEED)
    found: dict[str, Network] = {}
    for _ in range(_TRIES * count):
        network = what.network(what.sample(generator))
        found.setdefault(network.sha256, network)
        if len(found) == count:
            return list(found.values())
    raise ConfigError(f"{what.name} has too few networks: {len(found)} of {count}", "ask for fewer with --calibration and --held-out")


def _measure(
    passes: Passes,
    warm: Sequence[Task],
    cold: Sequence[Task],
    whole: Sequence[Task],
    max_time_s: float | None,
    device: str,
    tell: Callable[[Progress], None],
) -> None:
    """Take the passes that are missing, spread over time: warm blocks, networks, cold blocks, and again."""
    kinds = ((warm, WARM_PASSES), (whole, NETWORK_PASSES), (cold, COLD_PASSES))
    total = sum(len(tasks) * count for tasks, count in kinds)
    done = sum(min(len(task.repetitions), count) for tasks, count in kinds for task in tasks)
    began = time.monotonic()

    def told(count: int) -> None:
        nonlocal done
        done += count
        spent_s = time.monotonic() - began
        tell(Progress(device, "blocks and networks", "measuring", 0, None, spent_s, max_time_s or 0.0, done=done, total=total))

    for number in range(max(count for _, count in kinds)):
        late = max_time_s is not None and time.monotonic() - began > max_time_s
        if late and number >= _LEAST_PASSES:
            return
        for tasks, count in kinds:
            if number < count:
                passes.take([task for task in tasks if len(task.repetitions) <= number], told)


def _usual(tasks: Sequence[Task], threads: int) -> drift.References:
    """Return what the references usually took during the build."""
    return drift.medians([drift.reference_latencies_ns(one.data, threads) for task in tasks for one in task.repetitions])


def _seen(task: Task, usual: drift.References, threads: int) -> _Seen:
    estimates = [stats.estimate_repetition(one.data, 2, threads) for one in task.repetitions]
    references = [drift.reference_latencies_ns(one.data, threads) for one in task.repetitions]
    latencies = drift.corrected([one.latency_ns for one in estimates], references, usual)
    return _Seen(
        stats.interval(latencies, 0.0), sum(one.samples for one in estimates), sum(one.disturbed for one in estimates), _sd(latencies)
    )


def _sd(values: Sequence[float]) -> float | None:
    import numpy as np

    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _rows(one: Timed, warm: Task, cold: Task, usual: drift.References, threads: int) -> list[Row]:
    if warm.failed:
        return []
    hot = _seen(warm, usual, threads)
    low, high = hot.interval.low, hot.interval.high
    found = []
    for block, shapes in one.blocks:
        row = Row.of(block, shapes, hot.interval.centre / 1e6)
        found.append(
            replace(
                row,
                cold_ms=None if cold.failed else _seen(cold, usual, threads).interval.centre / 1e6,
                interval_ms=None if low is None or high is None else (low / 1e6, high / 1e6),
                spread_ms=None if hot.spread is None else hot.spread / 1e6,
                samples=hot.samples,
                processes=len(warm.repetitions),
                disturbed_share=hot.disturbed / hot.samples,
                measurement_ids=(warm.benchmark, cold.benchmark),
                measured_at=warm.repetitions[-1].taken_at,
            )
        )
    return found


def _noise(whole: Sequence[Task], usual: drift.References, threads: int) -> float | None:
    """Return how far a network's measurement is from its next one: the relative standard deviation of a mean over its processes."""
    found = [(_seen(task, usual, threads), len(task.repetitions)) for task in whole if not task.failed]
    shares = [seen.spread / seen.interval.centre / count**0.5 for seen, count in found if seen.spread is not None]
    return median(shares) if shares else None


def _judged(table: LatencyTable, networks: dict[str, Network], rest: Sequence[Calibrated], noise: float | None) -> LatencyTable:
    """Return the table with its error on networks that had no part in its calibration."""
    if not rest:
        return table
    predictions = table.predict_many([networks[one.name] for one in rest])
    return replace(table, held_out=judge(predictions, [one.measured_ms for one in rest], noise))


def _origin(rig: Rig, what: Space | Sequence[Network], precision: str, threads: int, began: datetime) -> Origin:
    session = rig.session
    return Origin(
        device=rig.device.name,
        fingerprint=session.fingerprint,
        cpu_model=session.facts.cpu_model,
        runtime=session.hello.runtime,
        runtime_version=session.hello.runtime_version,
        cores=session.placement.cores,
        governor=session.placement.governor,
        threads=threads,
        precision=precision,
        space=what.name if isinstance(what, Space) else None,
        method=METHOD_VERSION,
        began_at=began,
        ended_at=datetime.now(UTC),
        harness_version=version("latency-harness"),
    )
