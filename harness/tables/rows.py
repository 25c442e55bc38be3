"""The models that a block's row is measured by, and the row that their repetitions make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from harness.convert.direct import DirectPrecision
from harness.measure.batch import BLOCKS, COLD_BLOCKS
from harness.tables.listing import COPIES, Timed, chain_of
from harness.tables.passes import Passes, Task
from harness.tables.seen import seen_of
from harness.tables.table import Row


@dataclass(frozen=True)
class Blocks:
    """One model of blocks, and what is measured of it: runs in a row, runs with nothing in the caches, and a chain where asked for."""

    timed: Timed
    warm: Task
    cold: Task
    chain: Task | None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All of them."""
        return (self.warm, self.cold) if self.chain is None else (self.warm, self.cold, self.chain)


def blocks_to_measure(passes: Passes, models: Iterable[Timed], precision: DirectPrecision, *, chains: bool) -> list[Blocks]:
    """Return the tasks of models of blocks, those of a build that was cut short among them. Only who holds the lease may ask."""
    return [
        Blocks(
            one,
            passes.task(one.model, BLOCKS),
            passes.task(one.model, COLD_BLOCKS, cold=True),
            passes.task(chain_of(one, precision), BLOCKS) if chains else None,
        )
        for one in models
    ]


def rows_of(measured: Iterable[Blocks], threads: int, slower: float = 1.0) -> tuple[Row, ...]:
    """Return the rows of all blocks whose warm latency was measured; `slower` is how much slower the device was than they are given for."""
    return tuple(row for one in measured if one.warm.repetitions for row in _rows(one, threads, 1e6 * slower))


def tasks_of(measured: Iterable[Blocks]) -> list[Task]:
    """Return all tasks of models of blocks."""
    return [task for one in measured for task in one.tasks]


def _rows(one: Blocks, threads: int, unit_ns: float) -> Iterator[Row]:
    hot = seen_of(one.warm, threads)
    warm_ms = hot.latency / unit_ns
    # Where a process failed, or was not asked for, there is none.
    cold_ms, chained_ms = (
        None if task is None or not task.repetitions else seen_of(task, threads).latency / unit_ns for task in (one.cold, one.chain)
    )
    for block, shapes in one.timed.blocks:
        yield replace(
            Row.of(block, shapes, warm_ms),
            cold_ms=cold_ms,
            # A block that takes next to nothing may come out below it.
            chain_ms=None if chained_ms is None else max(0.0, (chained_ms - warm_ms) / (COPIES - 1)),
            interval_ms=None if hot.interval is None else (hot.interval[0] / unit_ns, hot.interval[1] / unit_ns),
            spread_ms=None if hot.spread is None else hot.spread / unit_ns,
            samples=hot.samples,
            processes=len(one.warm.repetitions),
            disturbed_share=hot.disturbed / hot.samples,
            measurement_ids=tuple(task.benchmark for task in one.tasks),
            measured_at=one.warm.repetitions[-1].taken_at,
        )
