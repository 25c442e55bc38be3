"""Two candidates in alternation, process by process: opened, measured, stored as they come, judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from harness.convert.converter import Converter, ModelLike, name_of
from harness.convert.model import Model, Precision
from harness.devices.inventory import load_inventory
from harness.errors import ConfigError, DeviceBusy, HarnessError, StoreError, UnstableConditions
from harness.files import StrPath
from harness.measure import drift, plan, stats
from harness.measure.affinity import kept_off, other_cores
from harness.measure.context import context_of
from harness.measure.result import Phase, Progress
from harness.measure.rig import LOSSES, MOST_LOSSES, Rig
from harness.measure.rows import ComparisonKind, Pairing
from harness.measure.samples import REFERENCES, Failure, Measurement, Subject, TimedRepetition
from harness.measure.store import Store
from harness.measure.summary import counted
from latency_agent.protocol import Repetition

PROCESSES = 6
"""An even number: of two copies of one model the one that is loaded last was seen to be 2% faster, and each side is so in every other."""
LEAST_PROCESSES = 3
Pair = tuple[TimedRepetition, TimedRepetition]
"""A repetition of A and one of B: twice the same one where one process alternated both."""


@dataclass(frozen=True)
class Side:
    """One of the two candidates, on its device."""

    rig: Rig
    model: Model


@dataclass(frozen=True)
class Process:
    """What one process, or one pair of processes, says: latencies in nanoseconds, ratios of B over A per pair of samples."""

    a_ns: float
    b_ns: float
    ratios: tuple[float, ...]
    flaws: tuple[stats.Flaw, ...]


@dataclass(frozen=True)
class Visit:
    """One comparison, judged; `used` are the processes that count. `flaw` is None unless too few of them are sound."""

    pairing: Pairing
    judged: tuple[Process, ...]
    used: tuple[Process, ...]
    flaw: stats.Flaw | None

    @property
    def flaws(self) -> tuple[stats.Flaw, ...]:
        """What is wrong with it."""
        return () if self.flaw is None else (self.flaw,)

    def ratio(self) -> stats.Ratio:
        """Return how slow B is over A, from 3 or more processes."""
        return stats.ratio_of_pairs([process.ratios for process in self.used])

    def complete(self, processes: int) -> bool:
        """Return whether so many undisturbed processes count, or as many more were taken as may be."""
        enough = self.flaw is None and len(self.used) >= processes
        return enough or len(self.judged) >= processes + plan.MOST_FLAWED


def open_sides(
    stack: ExitStack,
    models: tuple[ModelLike, ModelLike],
    *,
    devices: Sequence[str],
    precision: Precision | None,
    threads: int,
    shapes: Mapping[str, tuple[int, ...]],
    calibration: StrPath | None,
    inventory: StrPath | None,
    results: StrPath | None,
    progress: Callable[[Progress], None],
) -> tuple[Side, Side]:
    """Return both sides, ready to measure: agents live, leases held, models converted. With one device or none both are on it."""
    found = load_inventory(inventory)
    where = " and ".join(devices or (found.default,))

    def announce(text: str) -> None:
        progress(Progress.of_device(where, "waiting", text))

    store = stack.enter_context(Store.open(results or found.results_dir))
    rigs = [stack.enter_context(Rig(found.device(name), threads, store, announce)) for name in (devices or (None,))]
    cores = [core for rig in rigs for core in rig.session.occupied_cores]
    stack.enter_context(kept_off(cores))
    with Converter(cores=other_cores(cores)) as converter:
        converting = [converter.submit(model, precision=precision, shapes=shapes, calibration=calibration) for model in models]
        converted = []
        for rig, model, future in zip((rigs[0], rigs[-1]), models, converting, strict=True):
            try:
                converted.append(future.result())
            except HarnessError as error:
                store.add_unmeasured(rig.device.name, name_of(model), Failure.of(error))
                raise
    for rig in rigs:
        rig.token = rigs[0].token
        rig.acquire(announce)
    first, second = (Side(rig, model) for rig, model in zip((rigs[0], rigs[-1]), converted, strict=True))
    return first, second


def check_processes(processes: int) -> None:
    """Raise ConfigError for too few processes to give an interval."""
    if processes < LEAST_PROCESSES:
        raise ConfigError(f"{processes} processes give no interval", f"use {LEAST_PROCESSES} or more")


def subjects_of(sides: tuple[Side, Side]) -> tuple[Subject, Subject]:
    """Return what each side measures: its model in alternation with the other's."""
    a, b = sides
    how = "compare" if a.rig is b.rig else "compare apart"
    first, second = (replace(side.rig.subject(side.model), design=f"{how} {other.model.sha256}") for side, other in ((a, b), (b, a)))
    return first, second


def measure(
    sides: tuple[Side, Side], kind: ComparisonKind, processes: int, progress: Callable[[Progress], None], prefix: str = ""
) -> Visit:
    """Return one comparison, measured until `processes` were undisturbed, or 4 more than that were taken.

    An interrupted one of two models or devices is gone on with; a visit of an A/A test is of one moment, and begins anew. A device that is
    lost is waited for.
    """
    a, b = sides
    name = f"{prefix}{a.model.name}" if a.model.sha256 == b.model.sha256 else f"{prefix}{a.model.name} against {b.model.name}"
    where = " and ".join(dict.fromkeys((a.rig.device.name, b.rig.device.name)))
    config = plan.RunConfig(threads=a.rig.threads)
    store = a.rig.store
    pairing = (_interrupted(sides, kind) if kind == "compare" else None) or _begun(sides, kind, config)
    taken = list(zip(store.repetitions(pairing.a), store.repetitions(pairing.b), strict=True))

    def tell(phase: Phase) -> None:
        progress(Progress(where, name, phase, len(taken), None, 0.0, 0.0))

    losses = 0
    try:
        while not (visit := judge(store, pairing, subjects_of(sides), taken)).complete(processes):
            try:
                pair = _take(sides, pairing, len(taken), config, tell)
            except LOSSES:
                losses += 1
                if losses > MOST_LOSSES or not _returned(sides, lambda: tell("waiting")):
                    raise
            else:
                store.add_pair(pairing, *pair)
                taken.append(pair)
    except (StoreError, DeviceBusy, UnstableConditions):
        raise
    except HarnessError as error:
        error.message = f"{name}: {error.message}"
        if a.rig.session.alive() and b.rig.session.alive():  # else it is no fault of the models, and may be gone on with
            store.fail(Failure.of(error), *pairing.benchmarks)
        raise
    store.finish(*pairing.benchmarks)
    tell("done")
    return visit


def stored(store: Store, pairing: Pairing) -> tuple[Visit, Measurement, Measurement]:
    """Return a comparison as the store holds it, with the measurements of both sides."""
    a = store.measurement(pairing.a)
    b = a if pairing.b == pairing.a else store.measurement(pairing.b)
    return judge(store, pairing, (a.subject, b.subject), list(zip(a.repetitions, b.repetitions, strict=True))), a, b


def judge(store: Store, pairing: Pairing, subjects: tuple[Subject, Subject], taken: Sequence[Pair]) -> Visit:
    """Return what the processes taken so far say."""
    if not taken:
        return Visit(pairing, (), (), None)
    drifts = [_drifts(store, subject, [pair[side] for pair in taken]) for side, subject in enumerate(subjects)]
    judged = []
    for position, (a, b) in enumerate(taken):
        together = len(a.models) > REFERENCES + 1
        swapped = together and _swapped(position)
        indices = (REFERENCES + swapped, REFERENCES + (together and not swapped))
        estimates = [
            stats.estimate_repetition(repetition.data, index, subject.threads)
            for repetition, index, subject in zip((a, b), indices, subjects, strict=True)
        ]
        found = [stats.flaws(one, drifted=drifted[position]) for one, drifted in zip(estimates, drifts, strict=True)]
        first, second = (one.latency_ns for one in estimates)
        ratios = pair_ratios(a.data, subjects[0].threads, swapped=swapped) if together else (second / first,)
        judged.append(Process(first, second, ratios, tuple(dict.fromkeys(flaw for flaws in found for flaw in flaws))))
    used, flaw = counted(judged)
    return Visit(pairing, tuple(judged), used, flaw)


def pair_ratios(repetition: Repetition, threads: int, *, swapped: bool) -> tuple[float, ...]:
    """Return B over A for each pair of neighbouring samples of a process that took both in turn, without disturbed ones.

    B was loaded first where `swapped`.
    """
    chunks = [chunk for chunk in repetition.chunks if chunk.model >= REFERENCES]
    exchanges = [sorted(pair, key=lambda chunk: chunk.model, reverse=swapped) for pair in zip(chunks[::2], chunks[1::2], strict=True)]
    ratios = np.concatenate([stats.latencies_ns(b) / stats.latencies_ns(a) for a, b in exchanges])
    flags = np.concatenate([stats.disturbed(a, threads) | stats.disturbed(b, threads) for a, b in exchanges])
    return tuple(stats.clean_or_all(ratios, flags).tolist())


def _swapped(position: int) -> bool:
    """Return whether B comes first in the process at a position of a comparison."""
    return position % 2 == 1


def _drifts(store: Store, subject: Subject, repetitions: Sequence[TimedRepetition]) -> list[bool]:
    seen = [drift.reference_latencies_ns(repetition.data, subject.threads) for repetition in repetitions]
    return context_of(store, subject, repetitions[0].taken_at).drifted(seen)


def _alone(sides: tuple[Side, Side]) -> bool:
    """Return whether both sides are the same model in the same processes: one benchmark holds what is measured of both."""
    a, b = sides
    return a.rig is b.rig and (a.model.sha256, a.model.shapes, a.model.name) == (b.model.sha256, b.model.shapes, b.model.name)


def _interrupted(sides: tuple[Side, Side], kind: ComparisonKind) -> Pairing | None:
    """Return the newest comparison of these sides that has no outcome, where it began a short while ago."""
    store = sides[0].rig.store
    since = datetime.now(UTC) - plan.RESUMED_WITHIN
    names = [(side.model.name, side.rig.device.name) for side in sides]
    for pairing, outcome in store.comparisons(kind, subjects=subjects_of(sides), began_after=since):
        provenances = [store.row(benchmark).provenance for benchmark in (pairing.a, pairing.b)]
        same = names == [(provenance.model, provenance.device) for provenance in provenances]
        if outcome == "unfinished" and same and (pairing.a == pairing.b) == _alone(sides):
            return pairing
    return None


def _begun(sides: tuple[Side, Side], kind: ComparisonKind, config: plan.RunConfig) -> Pairing:
    store = sides[0].rig.store
    started = [
        store.start_benchmark(side.rig.stored_session, subject, side.rig.provenance(side.model, config))
        for side, subject in list(zip(sides, subjects_of(sides), strict=True))[: 1 if _alone(sides) else 2]
    ]
    return store.start_comparison(kind, started[0], started[-1])


def _typical_ns(side: Side, benchmark: int, config: plan.RunConfig) -> float:
    """Return about how long a run takes, by the solo run of a benchmark, which is taken where it is missing."""
    known = side.rig.store.solo(benchmark)
    if known is not None:
        return plan.typical_ns(known.result)
    try:
        solo, numbers = side.rig.solo(side.model, config.solo_timeout_s)
    except HarnessError as error:
        error.message = f"{error.message} (the first run of {side.model.name})"
        raise
    side.rig.store.add_solo(benchmark, solo, numbers)
    return plan.typical_ns(solo)


def _take(sides: tuple[Side, Side], pairing: Pairing, position: int, config: plan.RunConfig, tell: Callable[[Phase], None]) -> Pair:
    """Take what comes at a position of a comparison: a process of both sides, or one of each."""
    latencies = [_typical_ns(side, benchmark, config) for side, benchmark in zip(sides, (pairing.a, pairing.b), strict=True)]
    for rig in dict.fromkeys(side.rig for side in sides):
        rig.cool(lambda: tell("cooling"))
    tell("measuring")
    return (_together if sides[0].rig is sides[1].rig else _apart)(sides, latencies, position, config)


def _returned(sides: tuple[Side, Side], waiting: Callable[[], None]) -> bool:
    """Wait for the devices that are lost, and return whether there were any."""
    lost = [rig for rig in dict.fromkeys(side.rig for side in sides) if not rig.session.alive()]
    for rig in lost:
        rig.wait_for_return(waiting)
        rig.acquire(lambda _: waiting())
    return bool(lost)


def _together(sides: tuple[Side, Side], latencies: Sequence[float], position: int, config: plan.RunConfig) -> Pair:
    """Take one process that alternates both models. Every second one loads B first and takes it first."""
    side = sides[0]
    exchanges, pairs = plan.compare_exchanges(max(latencies))
    repetition = side.rig.repetition(
        [one.model for one in (reversed(sides) if _swapped(position) else sides)],
        plan.compare_schedule(exchanges),
        subject=subjects_of(sides)[0],
        chunk_ns=plan.COMPARE_EXCHANGE_NS,
        chunk_runs=pairs,
        timeout_s=config.timed_timeout_s(max(latencies), 10 * exchanges * pairs),
    )
    return repetition, repetition


def _apart(sides: tuple[Side, Side], latencies: Sequence[float], position: int, config: plan.RunConfig) -> Pair:
    """Take one process on each device, one after the other, B's first in every second pair."""
    found: list[TimedRepetition] = []
    order = list(zip(sides, subjects_of(sides), latencies, strict=True))
    swapped = _swapped(position)
    for side, subject, latency_ns in reversed(order) if swapped else order:
        chunks, runs = plan.candidate_chunks(latency_ns)
        found.append(
            side.rig.repetition(
                [side.model],
                plan.benchmark_schedule(chunks),
                subject=subject,
                chunk_ns=plan.CANDIDATE_CHUNK_NS,
                chunk_runs=runs,
                timeout_s=config.timed_timeout_s(latency_ns, chunks * runs),
            )
        )
    first, second = reversed(found) if swapped else found
    return first, second
