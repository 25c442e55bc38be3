"""The benchmark loop: converts, answers from the store, measures in interleaved repetitions, stores, reports."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from harness.convert.converter import Converter, ModelLike, name_of
from harness.convert.model import Model, Precision
from harness.devices.inventory import load_inventory
from harness.errors import DeviceBusy, DeviceError, HarnessError, StoreError
from harness.files import StrPath
from harness.measure import plan, stats
from harness.measure.result import FailedResult, Phase, Progress, Result
from harness.measure.rig import LOSSES, MOST_LOSSES, Rig, kept_off, other_cores
from harness.measure.samples import Failure, Subject, TimedRepetition
from harness.measure.store import Store
from harness.measure.summary import Context, Estimate, estimate, summarise
from latency_agent.protocol import SoloResult


@dataclass
class _Job:
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


def bench(
    models: Sequence[ModelLike] | ModelLike,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    threads: int = 1,
    interval: float = 0.02,
    max_time_s: float = 60.0,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: StrPath | None = None,
    cold: bool = False,
    fresh: bool = False,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Result | FailedResult]:
    """Return one result per model, in the order given; a model that cannot be measured is a FailedResult, and the others go on.

    A model is a path, a text that names a network or a candidate, a Network, or a Keras model.

    `interval` is the relative half-width to reach, `max_time_s` the measuring time per model. Results of the same subject that are steady
    within `interval` are answered from the store unless `fresh`; an interrupted benchmark goes on where it was. Raises HarnessError where
    nothing can be measured at all: an unknown device, no agent, no store.
    """
    config = plan.RunConfig(threads=threads, interval=interval, max_time_s=max_time_s, cold=cold, fresh=fresh)
    given = [models] if isinstance(models, str | os.PathLike) or not isinstance(models, Sequence) else list(models)
    found = load_inventory(inventory)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(results or found.results_dir))
        tell = progress or (lambda _: None)
        names = ", ".join(map(name_of, given))
        rig = stack.enter_context(
            Rig(found.device(device), threads, store, lambda text: tell(Progress(f"{names}: {text}", "waiting", 0, None, 0.0, max_time_s)))
        )
        stack.enter_context(kept_off(rig.session.occupied_cores))
        converter = stack.enter_context(Converter(cores=other_cores(rig.session.occupied_cores)))
        jobs = [
            _Job(name_of(model), converter.submit(model, precision=precision, shapes=shapes or {}, calibration=calibration))
            for model in given
        ]
        loop = _Loop(rig, config, tell)
        loop.run(jobs)
    return [job.outcome for job in jobs if job.outcome is not None]


class _Loop:
    """Rounds of one repetition per unfinished model, in random order, so that the machine's moods spread over all of them."""

    def __init__(self, rig: Rig, config: plan.RunConfig, progress: Callable[[Progress], None]) -> None:
        self._rig = rig
        self._config = config
        self._progress = progress
        self._order = random.Random(plan.SEED)
        self._leased = False
        self._taken: set[int] = set()
        self._device_error: HarnessError | None = None  # what keeps every further model from being measured

    def run(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            self._tell(job, "converting")
        if self._rig.session.occupied_cores and not self._has_baseline():
            # Nobody could tell yet whether what is measured during a conversion suffered from it.
            wait([job.converting for job in jobs])
        while pending := [job for job in jobs if job.outcome is None]:
            for job in pending:
                if job.model is None and job.converting.done():
                    self._guarded(job, self._admit)
            active = [job for job in pending if job.model is not None and job.outcome is None]
            if not active:
                wait(
                    [job.converting for job in pending if job.model is None and job.outcome is None],
                    timeout=1.0,
                    return_when=FIRST_COMPLETED,
                )
                continue
            self._order.shuffle(active)
            for job in active:
                self._guarded(job, self._step)

    def _guarded(self, job: _Job, step: Callable[[_Job], None]) -> None:
        """Run a step; what fails it is stored as the job's outcome."""
        gone = self._device_error
        try:
            if gone is not None:
                raise gone
            step(job)
        except StoreError:
            raise
        except HarnessError as error:
            if isinstance(error, LOSSES) and gone is None and not self._rig.session.alive():
                job.losses += 1
                self._return(job)
                if self._device_error is None and job.losses <= MOST_LOSSES:
                    return  # what was under way is begun anew in the next round
            self._fail(job, self._device_error or error)
            if isinstance(error, DeviceBusy):
                self._leased = False
                self._device_error = error

    def _admit(self, job: _Job) -> None:
        """Take up a converted model: answer from the store, or go on with an interrupted benchmark, or begin."""
        model = job.model = job.converting.result()
        subject = job.subject = self._rig.subject(model, cold=self._config.cold)
        if not self._config.fresh:
            known = self._answer(subject)
            if known is not None:
                job.outcome = replace(known, model=job.name, device=self._rig.device.name)
                self._tell(job, "stored")
                return
        self._lease(job)
        store = self._rig.store
        job.benchmark = store.unfinished(subject, since=datetime.now(UTC) - plan.RESUMED_WITHIN)
        if job.benchmark is None or job.benchmark in self._taken:
            job.benchmark = store.start_benchmark(self._rig.stored_session, subject, self._rig.provenance(model, self._config))
        self._taken.add(job.benchmark)
        stored = store.solo(job.benchmark)
        if stored is not None:
            job.solo = stored.result
            job.repetitions = list(store.repetitions(job.benchmark))
            job.spent_s = (stored.result.wall_ns + sum(one.data.wall_ns for one in job.repetitions)) / 1e9

    def _answer(self, subject: Subject) -> Result | None:
        for measurement in self._rig.store.finished(subject):
            known = self._rig.context(subject, measurement.repetitions[0].taken_at)
            now = estimate(measurement.repetitions, subject.model_sha256, subject.threads, replace(known, baseline_then=known.baseline))
            if now.flaw is not None:
                continue  # what was measured before there was a baseline turns out to have been disturbed
            result = summarise(measurement, known, from_store=True, asked=self._config.interval)
            if result.verdict == "steady":
                return result
        return None

    def _step(self, job: _Job) -> None:
        """Take one repetition of a job, and finish the job if that was the last."""
        assert job.model is not None
        assert job.subject is not None
        assert job.benchmark is not None
        self._lease(job)
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

    def _finish(self, job: _Job, known: Context) -> None:
        assert job.benchmark is not None
        store = self._rig.store
        store.finish(job.benchmark)
        found = summarise(store.measurement(job.benchmark), known, from_store=False, asked=self._config.interval)
        job.outcome = replace(found, model=job.name, device=self._rig.device.name)  # an interrupted one may have begun under others
        self._tell(job, "done")

    def _fail(self, job: _Job, error: HarnessError) -> None:
        failure = Failure.of(error)
        job.outcome = FailedResult(job.name, str(error), failure.stderr_tail)
        if job.benchmark is not None and self._device_error is None:  # one whose device is gone can be gone on with
            self._rig.store.fail(failure, job.benchmark)
        elif job.model is None and not isinstance(error, DeviceError):
            self._rig.store.add_unmeasured(self._rig.device.name, job.name, failure)
        self._tell(job, "failed")

    def _return(self, job: _Job) -> None:
        """Wait until the device has an agent again; where it gets none, that is an error to every model."""
        self._leased = False
        try:
            self._rig.wait_for_return(lambda: self._tell(job, "waiting"))
        except HarnessError as gone:
            self._device_error = gone

    def _lease(self, job: _Job) -> None:
        if not self._leased:
            self._rig.acquire(lambda: self._tell(job, "waiting"))
            self._leased = True

    def _tell(self, job: _Job, phase: Phase) -> None:
        self._progress(Progress(job.name, phase, len(job.repetitions), job.half_width, job.spent_s, self._config.max_time_s))
