"""The models that a block's row is measured by, and the row that their repetitions make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from harness.convert.direct import DirectPrecision
from harness.measure import drift
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


def rows_of(measured: Iterable[Blocks], usual: drift.References, threads: int) -> tuple[Row, ...]:
    """Return the rows of all blocks whose warm latency was measured."""
    return tuple(row for one in measured if one.warm.repetitions for row in _rows(one, usual, threads))


def tasks_of(measured: Iterable[Blocks]) -> list[Task]:
    """Return all tasks of models of blocks."""
    return [task for one in measured for task in one.tasks]


def _rows(one: Blocks, usual: drift.References, threads: int) -> Iterator[Row]:
    hot = seen_of(one.warm, usual, threads)
    warm_ms, (low, high) = hot.interval.centre / 1e6, (hot.interval.low, hot.interval.high)
    cold_ms, chained_ms = (_latency_ms(task, usual, threads) for task in (one.cold, one.chain))
    for block, shapes in one.timed.blocks:
        yield replace(
            Row.of(block, shapes, warm_ms),
            cold_ms=cold_ms,
            # A block that takes next to nothing may come out below it.
            chain_ms=None if chained_ms is None else max(0.0, (chained_ms - warm_ms) / (COPIES - 1)),
            interval_ms=None if low is None or high is None else (low / 1e6, high / 1e6),
            spread_ms=None if hot.spread is None else hot.spread / 1e6,
            samples=hot.samples,
            processes=len(one.warm.repetitions),
            disturbed_share=hot.disturbed / hot.samples,
            measurement_ids=tuple(task.benchmark for task in one.tasks),
            measured_at=one.warm.repetitions[-1].taken_at,
        )


def _latency_ms(task: Task | None, usual: drift.References, threads: int) -> float | None:
    """Return what a model takes; None where it was not measured, or its process failed."""
    return None if task is None or not task.repetitions else seen_of(task, usual, threads).interval.centre / 1e6
