"""Passes over the models of a table: each process holds a batch, each pass takes a process of every model, in another order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median

from harness.convert.model import Model
from harness.devices.inventory import load_inventory
from harness.errors import AgentError, DeviceError
from harness.files import StrPath
from harness.measure import plan
from harness.measure.affinity import kept_off
from harness.measure.batch import Pace, subject_of, take
from harness.measure.result import Progress
from harness.measure.rig import LOSSES, MOST_LOSSES, Rig
from harness.measure.samples import Failure, Subject, TimedRepetition
from harness.measure.store import Store

RESUMED_WITHIN = timedelta(days=1)
"""A build that was cut short is gone on with for so long."""

_TIMEOUT_S = 300.0
_LATE = 15


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


@contextmanager
def passes_on(
    device: str | None, threads: int, inventory: StrPath | None, results: StrPath | None, progress: Callable[[Progress], None] | None
) -> Iterator[Passes]:
    """Give the passes of one device; the lease is not taken yet. Raises ConfigError for an unknown device, and what a session raises."""
    found = load_inventory(inventory)
    chosen = found.device(device)
    tell = progress or (lambda _: None)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(results or found.results_dir))
        rig = stack.enter_context(Rig(chosen, threads, store, lambda text: tell(Progress.of_device(chosen.name, "waiting", text))))
        stack.enter_context(kept_off(rig.session.occupied_cores))
        yield Passes(rig, tell)


class Passes:
    """The models of one table on one device; all that is taken is stored at once."""

    def __init__(self, rig: Rig, progress: Callable[[Progress], None]) -> None:
        self.rig = rig
        self._progress = progress
        self._order = random.Random(plan.SEED)
        self._taken_up: set[int] = set()
        self._costs: dict[tuple[Pace, bool], list[float]] = {}

    def acquire(self) -> None:
        """Take the device's lease."""
        self.rig.acquire(self.note)

    def note(self, text: str) -> None:
        """Tell what concerns no model."""
        self._progress(Progress.of_device(self.rig.device.name, "waiting", text))

    def task(self, model: Model, pace: Pace, *, cold: bool = False, fresh: bool = False) -> Task:
        """Return the task of a model: that of a build that was cut short, or a `fresh` one. Only who holds the lease may ask."""
        store, subject = self.rig.store, subject_of(self.rig, model, pace, cold=cold)
        since = datetime.now(UTC) - RESUMED_WITHIN
        # Two networks may have one file: what one of them goes on with is not the other's.
        benchmark = None if fresh else store.unfinished(subject, since, self._taken_up)
        if benchmark is None:
            provenance = self.rig.provenance(model, plan.RunConfig(threads=self.rig.threads, cold=cold))
            benchmark = store.start_benchmark(self.rig.stored_session, subject, provenance)
        self._taken_up.add(benchmark)
        return Task(model, cold, pace, subject, benchmark, list(store.repetitions(benchmark)))

    def run(self, kinds: Sequence[tuple[Sequence[Task], int]], tell: Callable[[int, int], None] | None = None) -> None:
        """Take the passes that are missing of each kind of tasks, so many in all, the kinds in turn.

        `tell` is told how many processes of models are done, of how many; without one it is the progress.
        """
        total = sum(len(tasks) * count for tasks, count in kinds)
        done = sum(min(len(task.repetitions), count) for tasks, count in kinds for task in tasks)

        def told(count: int) -> None:
            nonlocal done
            done += count
            (tell or self.tell)(done, total)

        for number in range(max(count for _, count in kinds)):
            for tasks, count in kinds:
                if number < count:
                    self.take([task for task in tasks if len(task.repetitions) <= number], told)

    def tell(self, done: int, total: int) -> None:
        """Tell how far the measuring is."""
        self._progress(Progress(self.rig.device.name, "in passes", "measuring", 0, None, 0.0, 0.0, done=done, total=total))

    def take(self, tasks: Sequence[Task], done: Callable[[int], None]) -> None:
        """Take a process of each task, of one pace and one kind, in random order; `done` is told how many each process measured."""
        shuffled = [task for task in tasks if not task.failed]
        self._order.shuffle(shuffled)
        for first in range(0, len(shuffled), shuffled[0].pace.models if shuffled else 1):
            batch = shuffled[first : first + shuffled[0].pace.models]
            began = time.monotonic()
            self._batch(batch)
            self._costs.setdefault((batch[0].pace, batch[0].cold), []).append((time.monotonic() - began) / len(batch))
            done(len(batch))

    def cost_s(self, task: Task) -> float:
        """Return what a process of such a task took of late, its share of a batch; of a kind that was not taken yet, nothing."""
        costs = self._costs.get((task.pace, task.cold))
        return median(costs[-_LATE:]) if costs else 0.0

    def finish(self, tasks: Sequence[Task]) -> None:
        """Store that the build is over."""
        if whole := [task.benchmark for task in tasks if not task.failed]:
            self.rig.store.finish(*whole)

    def _batch(self, batch: Sequence[Task]) -> None:
        """Take a process of a batch; where one of its models breaks it, halves of it, until that one stands alone and has failed."""
        losses = 0
        while True:
            self.rig.cool(lambda: self.note("too hot"))
            try:
                taken = take(self.rig, [task.model for task in batch], batch[0].pace, cold=batch[0].cold, timeout_s=_TIMEOUT_S)
            except (AgentError, *LOSSES) as error:
                self.note(f"{len(batch)} models together: {error.message}")  # where the user wants an end, this raises
                if isinstance(error, LOSSES) and not self.rig.session.alive():
                    losses += 1
                    if losses > MOST_LOSSES:
                        raise
                    self._return(error)
                    continue
                if len(batch) == 1:
                    batch[0].failed = True
                    self.rig.store.fail(Failure.of(error), batch[0].benchmark)
                    return
                middle = len(batch) // 2
                self._batch(batch[:middle])
                self._batch(batch[middle:])
                return
            self.rig.store.add_repetitions(zip((task.benchmark for task in batch), taken, strict=True))
            for task, one in zip(batch, taken, strict=True):
                task.repetitions.append(one)
            return

    def _return(self, error: DeviceError) -> None:
        self.note(error.message)
        self.rig.wait_for_return(lambda: self.note("lost"))
        self.acquire()
