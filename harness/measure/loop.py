"""One device at its models: answers from the store, measures in interleaved repetitions, stores, goes on after faults."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import replace
from datetime import UTC, datetime

from harness.errors import DeviceBusy, DeviceError, HarnessError, RemoteFailure, StoreError, UnstableConditions
from harness.measure import plan, stats
from harness.measure.answers import stored_answer
from harness.measure.crew import Crew, Stopped
from harness.measure.result import FailedResult, Phase, Progress, Result
from harness.measure.rig import LOSSES, MOST_LOSSES, Rig
from harness.measure.samples import Failure, Subject
from harness.measure.summary import Context, Estimate, estimate, summarise
from harness.measure.work import Job, Work

MOST_FAULTS = 3
"""A device that fails so often with nothing measured in between is set aside."""

MOST_TIMES_ASIDE = 3
"""A device that was set aside more often, with nothing measured in between, measures no more."""

ASIDE_S = 60.0
"""How long a device that was set aside is left alone, at least."""

GIVE_BACK_AFTER_S = 15.0
"""A device that is lost for longer leaves the models it had to those that share them."""

_UNFIT = (RemoteFailure, UnstableConditions)
"""What is wrong with a device that answers: its disk is full, it stays hot, its governor cannot be set."""

_STEP_S = 1.0


class Loop:
    """Rounds of one repetition per model that has its turn, in random order, so that the machine's moods spread over all of them."""

    def __init__(
        self,
        rig: Rig,
        work: Work,
        config: plan.RunConfig,
        progress: Callable[[Progress], None],
        crew: Crew,
        equals: Sequence[str] = (),
    ) -> None:
        """`equals` are the fingerprints of the devices whose stored results count for this one."""
        self._rig = rig
        self._work = work
        self._config = config
        self._progress = progress
        self._crew = crew
        self._equals = equals
        self._order = random.Random(plan.SEED)
        self._leased = False
        self._active: list[Job] = []
        self._faults = 0
        self._times_aside = 0
        self._device_error: HarnessError | None = None  # what keeps every further model from being measured

    def run(self) -> None:
        """Bring the models to their outcomes; those of a device that is lost for good fail, unless an equal one takes them."""
        for job in self._work.jobs:
            self._tell(job, "converting")
        if self._rig.session.occupied_cores and not self._has_baseline():
            # Nobody could tell yet whether what is measured during a conversion suffered from it.
            while wait([job.converting for job in self._work.jobs], _STEP_S).not_done:
                self._crew.check()
        while not self._work.over:
            self._crew.check()
            self._fill()
            if self._device_error is not None:
                left = self._work.leave(self._rig.device.name, self._active, self._device_error)
                for job in left:
                    self._tell(job, "failed")
                if not left:  # others measure its models: no result tells of it
                    self._note("failed", self._device_error)
                return
            self._order.shuffle(self._active)
            for job in tuple(self._active):
                if job in self._active and self._device_error is None:
                    self._guarded(job, self._admit if job.benchmark is None else self._step)
            if not self._active:
                self._wait()

    def _fill(self) -> None:
        """Take up as many models as may take turns here."""
        while self._device_error is None and (job := self._work.take(len(self._active))) is not None:
            self._active.append(job)
            self._guarded(job, self._admit)

    def _wait(self) -> None:
        """Come back when there may be something to take up: a model that is converted, or one that another device gave back."""
        if self._work.unclaimed:
            self._work.wait(_STEP_S)
        else:
            with self._crew.resting():
                time.sleep(_STEP_S)

    def _guarded(self, job: Job, step: Callable[[Job], None]) -> None:
        """Run a step; what fails it is stored as the job's outcome."""
        try:
            step(job)
        except StoreError:
            raise
        except HarnessError as error:
            self._crew.check()
            if isinstance(error, DeviceBusy):
                if self._leased:  # the lease was lost under way: it is waited for
                    self._leased = False
                else:
                    self._device_error = error
            else:
                lost = isinstance(error, LOSSES) and not self._rig.session.alive()
                self._suffer(job, error, lost=lost)
        if job.outcome is not None and job in self._active:
            self._active.remove(job)

    def _suffer(self, job: Job, error: HarnessError, *, lost: bool) -> None:
        """Decide whether a failure is the model's or the device's."""
        unfit = isinstance(error, _UNFIT) and not self._crew.alone
        if lost or unfit:
            job.losses += 1
        if not (lost or unfit) or job.losses > MOST_LOSSES:
            self._fail(job, error)
            self._active.remove(job)
        if (lost or unfit) and not self._work.over:
            with self._crew.resting() as others_work:
                try:
                    if lost:
                        self._return(job, error, others_work)
                    else:
                        self._set_aside(job, error)
                except HarnessError as gone:
                    self._device_error = gone

    def _admit(self, job: Job) -> None:
        """Take up a converted model: answer from the store, or go on with an interrupted benchmark, or begin."""
        model = job.model = job.converting.result()
        subject = job.subject = self._rig.subject(model, cold=self._config.cold)
        known = self._answer(subject)
        if known is None and not self._leased:
            self._lease(job)
            known = self._answer(subject)  # who held the lease may have measured it
        if known is not None:
            job.outcome = replace(
                known, model=job.name, device=self._rig.device.name if known.fingerprint == subject.fingerprint else known.device
            )
            self._tell(job, "stored")
            return
        store = self._rig.store
        job.benchmark = self._crew.take_up(
            lambda: store.unfinished(subject, since=datetime.now(UTC) - plan.RESUMED_WITHIN),
            lambda: store.start_benchmark(self._rig.stored_session, subject, self._rig.provenance(model, self._config)),
        )
        stored = store.solo(job.benchmark)
        if stored is not None:
            job.solo = stored.result
            job.repetitions = list(store.repetitions(job.benchmark))
            job.spent_s = (stored.result.wall_ns + sum(one.data.wall_ns for one in job.repetitions)) / 1e9
        self._rig.session.push_ahead(model)

    def _answer(self, subject: Subject) -> Result | None:
        for fingerprint in dict.fromkeys((subject.fingerprint, *self._equals)):
            known = stored_answer(self._rig.store, replace(subject, fingerprint=fingerprint), self._config, self._crew.has_taken_up)
            if known is not None:
                return known
        return None

    def _step(self, job: Job) -> None:
        """Take one repetition of a job, and finish the job if that was the last."""
        self._lease(job)
        if job.benchmark is None:
            return
        assert job.model is not None
        assert job.subject is not None
        self._rig.cool(lambda: self._tell(job, "cooling"))
        self._tell(job, "measuring")
        started = time.monotonic()
        if job.solo is None:
            job.solo, numbers = self._rig.solo(job.model, self._config.solo_timeout_s)
            self._rig.store.add_solo(job.benchmark, job.solo, numbers)
        began = time.monotonic()
        typical_ns = plan.typical_ns(job.solo)
        chunks, runs = plan.candidate_chunks(typical_ns)
        repetition = self._rig.repetition(
            [job.model],
            plan.benchmark_schedule(chunks),
            subject=job.subject,
            chunk_ns=plan.CANDIDATE_CHUNK_NS,
            chunk_runs=runs,
            timeout_s=self._config.timed_timeout_s(typical_ns, chunks * runs),
        )
        self._rig.store.add_repetition(job.benchmark, repetition)
        self._faults = self._times_aside = 0
        job.repetitions.append(repetition)
        job.spent_s += time.monotonic() - started
        took_s = time.monotonic() - began
        known = self._rig.context(job.subject, job.repetitions[0].taken_at)
        found = estimate(job.repetitions, job.subject.model_sha256, job.subject.threads, known)
        job.half_width = found.interval.half_width
        self._tell(job, "measuring")
        if job.spent_s + took_s > self._config.max_time_s or self._complete(found, known):
            self._finish(job, known)

    def _has_baseline(self) -> bool:
        subject = self._rig.subject(self._rig.references[0], cold=self._config.cold)
        return self._rig.context(subject, datetime.now(UTC)).baseline is not None

    def _complete(self, found: Estimate, known: Context) -> bool:
        sound = sum(not one.flaws for one in found.judged)
        flawed = len(found.judged) - sound
        if sound < plan.LEAST_REPETITIONS:
            return flawed > plan.MOST_FLAWED
        reached = found.interval.half_width
        latencies = [one.estimate.latency_ns for one in found.used]
        return reached is not None and (
            reached <= self._config.interval or stats.unreachable(latencies, known.spread or 0.0, self._config.interval)
        )

    def _finish(self, job: Job, known: Context) -> None:
        assert job.benchmark is not None
        store = self._rig.store
        store.finish(job.benchmark)
        found = summarise(store.measurement(job.benchmark), known, from_store=False, asked=self._config.interval)
        job.outcome = replace(found, model=job.name, device=self._rig.device.name)  # an interrupted one may have begun under others
        self._tell(job, "done")

    def _fail(self, job: Job, error: HarnessError) -> None:
        failure = Failure.of(error)
        job.outcome = FailedResult(job.name, self._rig.device.name, str(error), failure.stderr_tail)
        if job.benchmark is not None:
            self._rig.store.fail(failure, job.benchmark)
        elif job.model is None and not isinstance(error, DeviceError):
            self._rig.store.add_unmeasured(self._rig.device.name, job.name, failure)
        self._tell(job, "failed")

    def _return(self, job: Job, error: HarnessError, others_work: Callable[[], bool]) -> None:
        """Wait until the device has an agent again; raises what keeps it from one, with the last words of the one that was lost."""
        self._leased = False
        self._faults += 1
        self._note("waiting", error)
        until = time.monotonic() + GIVE_BACK_AFTER_S

        def waiting() -> None:
            if self._work.over:
                raise Stopped
            if time.monotonic() > until:
                self._give_back()
            self._tell(job, "waiting")

        if self._faults >= MOST_FAULTS:
            self._set_aside(job, error)
        try:
            self._rig.wait_for_return(waiting, others_work)
        except DeviceError as gone:
            gone.stderr_tail = gone.stderr_tail or Failure.of(error).stderr_tail
            raise

    def _set_aside(self, job: Job, error: HarnessError) -> None:
        """Leave the device alone for a while, its power cycled where it was lost; raises `error` where that did not help before."""
        self._faults = 0
        self._times_aside += 1
        if self._times_aside > MOST_TIMES_ASIDE:
            raise error
        self._note("aside", error)
        self._give_back()
        if isinstance(error, LOSSES):
            self._rig.cycle_power()
        until = time.monotonic() + ASIDE_S
        while time.monotonic() < until and not self._work.over:
            self._tell(job, "aside")
            time.sleep(_STEP_S)

    def _give_back(self) -> None:
        """Let the devices that share the models take those that were under way here."""
        benchmarks = [job.benchmark for job in self._active if job.benchmark is not None]
        if self._work.give_back(self._active):
            self._crew.let_go(benchmarks)
            self._active.clear()

    def _lease(self, job: Job) -> None:
        if self._leased:
            return

        def held(by: str) -> None:
            self._tell(job, "waiting", by)

        self._crew.patiently(lambda: self._rig.acquire(held), (DeviceBusy,), lambda error: held(error.message))
        self._leased = True
        for one in self._active:
            if one.benchmark is not None and self._rig.store.row(one.benchmark).outcome != "unfinished":
                one.begin_anew()  # another process has gone on with it meanwhile

    def _note(self, phase: Phase, error: HarnessError) -> None:
        self._progress(Progress.of_device(self._rig.device.name, phase, str(error)))

    def _tell(self, job: Job, phase: Phase, note: str = "") -> None:
        self._crew.check()
        work, config = self._work, self._config
        self._progress(
            Progress(
                device=self._rig.device.name,
                model=job.name,
                phase=phase,
                repetitions=len(job.repetitions),
                half_width=job.half_width,
                spent_s=job.spent_s,
                max_time_s=config.max_time_s,
                done=work.done,
                total=len(work.jobs),
                note=note,
            )
        )
