"""A latency table built on a device: blocks and whole networks measured in passes, calibrated, judged, written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness.convert.direct import DirectPrecision
from harness.files import StrPath
from harness.measure import drift
from harness.measure.batch import BLOCKS, COLD_BLOCKS, NETWORKS
from harness.measure.result import Progress
from harness.networks.network import Network
from harness.networks.space import Space
from harness.tables.calibrate import calibrate
from harness.tables.held_out import judge
from harness.tables.listing import Timed, blocks_of_networks, blocks_of_space, models_of, network_model, networks_of
from harness.tables.passes import Task, passes_on
from harness.tables.seen import noise_of, origin_of, seen_of, usual_of
from harness.tables.table import Calibrated, LatencyTable, Row

WARM_PASSES, COLD_PASSES, NETWORK_PASSES = 7, 2, 7
CALIBRATION, HELD_OUT = 20, 20


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
    networks = networks_of(what, calibration + held_out)
    blocks = blocks_of_space(what) if isinstance(what, Space) else blocks_of_networks(what)
    with passes_on(device, threads, inventory, results, progress) as passes:
        passes.note(f"writing models of {len(blocks)} blocks")
        models = models_of(blocks, precision)
        wholes = [network_model(network, precision) for network in networks]
        passes.acquire()
        began = datetime.now(UTC)
        warm = [passes.task(one.model, BLOCKS) for one in models]
        cold = [passes.task(one.model, COLD_BLOCKS, cold=True) for one in models]
        whole = [passes.task(model, NETWORKS) for model in wholes]
        passes.run(((warm, WARM_PASSES), (whole, NETWORK_PASSES), (cold, COLD_PASSES)), max_time_s)
        usual = usual_of([*warm, *whole], threads)
        rows = tuple(row for one, hot, chill in zip(models, warm, cold, strict=True) for row in _rows(one, hot, chill, usual, threads))
        table = LatencyTable(origin_of(passes.rig, what, precision, threads, began), rows)
        measured = [
            Calibrated.of(network, seen_of(task, usual, threads).interval.centre / 1e6, measurement_id=task.benchmark)
            for network, task in zip(networks, whole, strict=True)
            if not task.failed and not table.missing(network)
        ]
        noise = noise_of(whole, usual, threads)
        known = [replace(one, repeatability=noise) for one in measured]
        kept = known[: len(known) - held_out] if len(known) > held_out else known
        table.save(Path(path))  # what was measured is kept, also where what follows fails
        table = replace(table, calibration=calibrate(table, kept))
        table.save(Path(path))
        table = _judged(table, {one.name: one for one in networks}, known[len(kept) :], noise)
        table.save(Path(path))
        passes.finish([*warm, *cold, *whole])
    return table


def _rows(one: Timed, warm: Task, cold: Task, usual: drift.References, threads: int) -> list[Row]:
    if warm.failed:
        return []
    hot = seen_of(warm, usual, threads)
    low, high = hot.interval.low, hot.interval.high
    cold_ms = None if cold.failed else seen_of(cold, usual, threads).interval.centre / 1e6
    found = []
    for block, shapes in one.blocks:
        row = Row.of(block, shapes, hot.interval.centre / 1e6)
        found.append(
            replace(
                row,
                cold_ms=cold_ms,
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


def _judged(table: LatencyTable, networks: dict[str, Network], rest: Sequence[Calibrated], noise: float | None) -> LatencyTable:
    """Return the table with its error on networks that had no part in its calibration."""
    if not rest:
        return table
    predictions = table.predict_many([networks[one.name] for one in rest])
    return replace(table, held_out=judge(predictions, [one.measured_ms for one in rest], noise))
