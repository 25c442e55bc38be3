"""Passes over the models of a table: each process holds a batch, each pass takes a process of every model, in another order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from harness.convert.model import Model
from harness.errors import AgentDied, AgentError, DeviceError, TimedOut
from harness.measure import plan
from harness.measure.batch import Pace, subject_of, take
from harness.measure.rig import LOSSES, MOST_LOSSES, Rig
from harness.measure.samples import Failure, Subject, TimedRepetition

RESUMED_WITHIN = timedelta(days=1)
"""A build that was cut short is gone on with for so long."""

_TIMEOUT_S = 300.0


@dataclass
class Task:
    """One model that is measured in batches, and what is stored of it so far."""

    model: Model
    cold: bool
    pace: Pace
    subject: Subject
    benchmark: int
    repetitions: list[TimedRepetition] = field(default_factory=list)
    failed: bool = False


class Passes:
    """The models of one build on one device; all that is taken is stored at once."""

    def __init__(self, rig: Rig, waiting: Callable[[str], None]) -> None:
        self._rig = rig
        self._waiting = waiting
        self._order = random.Random(plan.SEED)

    def task(self, model: Model, pace: Pace, *, cold: bool = False) -> Task:
        """Return the task of a model: that of a build that was cut short, or a new one. Only who holds the lease may ask."""
        store, subject = self._rig.store, subject_of(self._rig, model, cold=cold)
        benchmark = store.unfinished(subject, since=datetime.now(UTC) - RESUMED_WITHIN)
        if benchmark is None:
            provenance = self._rig.provenance(model, plan.RunConfig(threads=self._rig.threads, cold=cold))
            return Task(model, cold, pace, subject, store.start_benchmark(self._rig.stored_session, subject, provenance))
        return Task(model, cold, pace, subject, benchmark, list(store.repetitions(benchmark)))

    def take(self, tasks: Sequence[Task], done: Callable[[int], None]) -> None:
        """Take a process of each task, of one pace and one kind, in random order; `done` is told how many each process measured."""
        shuffled = [task for task in tasks if not task.failed]
        self._order.shuffle(shuffled)
        for first in range(0, len(shuffled), shuffled[0].pace.models if shuffled else 1):
            batch = shuffled[first : first + shuffled[0].pace.models]
            self._batch(batch)
            done(len(batch))

    def finish(self, tasks: Sequence[Task]) -> None:
        """Store that the build is over."""
        self._rig.store.finish(*(task.benchmark for task in tasks if not task.failed))

    def _batch(self, batch: Sequence[Task]) -> None:
        """Take a process of a batch; where one of its models breaks it, halves of it, until that one stands alone and has failed."""
        losses = 0
        while True:
            self._rig.cool(lambda: self._waiting("too hot"))
            try:
                taken = take(self._rig, [task.model for task in batch], batch[0].pace, cold=batch[0].cold, timeout_s=_TIMEOUT_S)
            except (AgentDied, AgentError, TimedOut, *LOSSES) as error:
                if isinstance(error, LOSSES) and not self._rig.session.alive():
                    losses += 1
                    if losses > MOST_LOSSES:
                        raise
                    self._return(error)
                    continue
                if len(batch) == 1:
                    batch[0].failed = True
                    self._rig.store.fail(Failure.of(error), batch[0].benchmark)
                    return
                middle = len(batch) // 2
                self._batch(batch[:middle])
                self._batch(batch[middle:])
                return
            self._rig.store.add_repetitions(zip((task.benchmark for task in batch), taken, strict=True))
            for task, one in zip(batch, taken, strict=True):
                task.repetitions.append(one)
            return

    def _return(self, error: DeviceError) -> None:
        self._waiting(error.message)
        self._rig.wait_for_return(lambda: self._waiting("lost"))
        self._rig.acquire(self._waiting)
