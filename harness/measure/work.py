"""The models that are left to measure: each on its way to an outcome, handed to whichever device takes them."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from harness.convert.model import Model
from harness.errors import HarnessError
from harness.measure.result import FailedResult, Result
from harness.measure.samples import Failure, Subject, TimedRepetition
from latency_agent.protocol import SoloResult

WINDOW = 8
"""So many models take turns on a device. More would make each take long, and an interrupted one lose more."""


@dataclass
class Job:
    """One MODEL on its way to a result."""

    name: str
    converting: Future[Model]
    model: Model | None = None
    subject: Subject | None = None
    benchmark: int | None = None
    solo: SoloResult | None = None
    repetitions: list[TimedRepetition] = field(default_factory=list)
    spent_s: float = 0.0
    half_width: float | None = None
    losses: int = 0
    outcome: Result | FailedResult | None = None

    def begin_anew(self) -> None:
        """Forget what one device has of it: another takes it up."""
        self.model = self.subject = self.benchmark = self.solo = self.half_width = None
        self.repetitions, self.spent_s = [], 0.0


class Work:
    """The models of one device, or of several equal ones, `sharers`, that share them. Threads may share it."""

    def __init__(self, jobs: Sequence[Job], sharers: int = 1) -> None:
        self.jobs = tuple(jobs)
        self.abandoned = False
        """Whether the last device left before all was done."""
        self._waiting = list(jobs)
        self._sharers = sharers
        self._lock = threading.Lock()

    @property
    def done(self) -> int:
        """How many models have their outcome."""
        return sum(job.outcome is not None for job in self.jobs)

    @property
    def unclaimed(self) -> int:
        """How many models no device has taken."""
        return len(self._waiting)

    def take(self, active: int) -> Job | None:
        """Return the next model that is converted, for a device that has `active` ones; None where it has enough, or there is none yet."""
        with self._lock:
            enough = min(WINDOW, math.ceil((len(self._waiting) + active) / self._sharers))
            ready = next((job for job in self._waiting if job.converting.done()), None)
            if ready is None or active >= enough:
                return None
            self._waiting.remove(ready)
            return ready

    def wait(self, timeout_s: float) -> None:
        """Come back when a model is converted that nobody has taken, or after `timeout_s`."""
        with self._lock:
            converting = [job.converting for job in self._waiting]
        wait(converting, timeout_s, return_when=FIRST_COMPLETED)

    @property
    def over(self) -> bool:
        """Whether every model has its outcome."""
        return self.done == len(self.jobs)

    def give_back(self, jobs: Sequence[Job]) -> bool:
        """Let another device take these; return whether there is one."""
        with self._lock:
            return self._give_back(jobs)

    def _give_back(self, jobs: Sequence[Job]) -> bool:
        if self._sharers == 1:
            return False
        for job in jobs:
            job.begin_anew()
        self._waiting[:0] = jobs
        return True

    def leave(self, device: str, jobs: Sequence[Job], error: HarnessError) -> tuple[Job, ...]:
        """End the part of a device that is lost and had `jobs`; return those that nobody will measure now: they have failed by `error`."""
        with self._lock:
            if self._give_back(jobs):
                self._sharers -= 1
                return ()
            left, self._waiting = (*jobs, *self._waiting), []
        for job in left:
            job.outcome = FailedResult(job.name, device, str(error), Failure.of(error).stderr_tail)
        self.abandoned = self.abandoned or bool(left)
        return left
