"""Two candidates in alternation: the ratio of their latencies, and what the rig itself can see (A/A)."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from harness.convert.converter import Converter, ModelLike
from harness.convert.model import Model, Precision
from harness.devices.inventory import load_inventory
from harness.errors import ConfigError, DeviceError, HarnessError
from harness.measure import drift, plan, stats
from harness.measure.result import VERDICTS, AAReport, Comparison, Phase, Progress, Verdict
from harness.measure.rig import Rig, kept_off, other_cores
from harness.measure.samples import Failure, Subject, TimedRepetition
from harness.measure.store import Spread, Store
from latency_agent.protocol import Repetition

PROCESSES = 5
AA_PAIRS = 40
LEAST_VISITS = 3
_POWER = 0.9


@dataclass(frozen=True)
class _Side:
    """One of the two candidates, on its device."""

    rig: Rig
    model: Model


@dataclass(frozen=True)
class _Process:
    """What one process, or one pair of processes, says: latencies in nanoseconds, pair ratios, flaws."""

    a_ns: float
    b_ns: float
    pairs: tuple[float, ...]
    flaws: tuple[stats.Flaw, ...]


def compare(
    a: ModelLike,
    b: ModelLike | None = None,
    *,
    devices: Sequence[str] = (),
    precision: Precision | None = None,
    threads: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: Path | None = None,
    processes: int = PROCESSES,
    inventory: Path | None = None,
    results: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Return how much slower B is than A, with the interval of the ratio.

    Two models are alternated chunk by chunk inside each process, on the one device given or the default. One model on two devices
    (or two runtimes of one device) is measured in alternating processes. Raises ConfigError for any other combination.
    """
    if (len(devices) != 2) if b is None else (len(devices) > 1):
        raise ConfigError("compare takes two models on one device, or one model on two devices", "name B, or give --device twice")
    if processes < 3:
        raise ConfigError(f"{processes} processes give no interval", "use 3 or more")
    with ExitStack() as stack:
        sides = _open(stack, (a, a if b is None else b), devices, precision, threads, shapes or {}, calibration, inventory, results)
        return _compare(sides, processes, progress or (lambda _: None))


def aa(
    model: ModelLike,
    *,
    device: str | None = None,
    pairs: int = AA_PAIRS,
    processes: int = PROCESSES,
    precision: Precision | None = None,
    threads: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: Path | None = None,
    inventory: Path | None = None,
    results: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> AAReport:
    """Return how often this rig claims a difference where there is none, and the smallest one that it can see.

    The model is compared with itself `pairs` times; each comparison is a visit, and the spread of the latency between visits is
    stored for later intervals.
    """
    if pairs < LEAST_VISITS:
        raise ConfigError(f"{pairs} pairs tell nothing of a rate", "use 3 or more; 40 take some minutes")
    with ExitStack() as stack:
        devices = () if device is None else (device,)
        sides = _open(stack, (model, model), devices, precision, threads, shapes or {}, calibration, inventory, results)
        tell = progress or (lambda _: None)
        visits = [_processes(sides, processes, tell, f"pair {visit + 1} of {pairs}, ") for visit in range(pairs)]
        return _aa_report(sides[0], visits, processes)


def _aa_report(side: _Side, visits: Sequence[Sequence[_Process]], processes: int) -> AAReport:
    found = [stats.ratio_of_pairs([process.pairs for process in visit]) for visit in visits]
    false = sum(not one.low <= 1 <= one.high for one in found)
    variances = [statistics.variance([math.log(statistics.median(process.pairs)) for process in visit]) for visit in visits]
    standard_error = math.sqrt(statistics.mean(variances) / processes)
    sound = [latencies for visit in visits if len(latencies := [process.a_ns for process in visit if not process.flaws]) > 1]
    spread = stats.between_visits(sound) if len(sound) >= LEAST_VISITS else None
    subject = side.rig.subject(side.model)
    now = datetime.now(UTC)
    if spread is not None:
        side.rig.store.add_spread(
            Spread(
                fingerprint=subject.fingerprint,
                runtime=subject.runtime,
                runtime_version=subject.runtime_version,
                relative_sd=spread,
                visits=len(sound),
                model=side.model.name,
                created_at=now,
            )
        )
    return AAReport(
        model=side.model.name,
        device=side.rig.device.name,
        runtime=subject.runtime,
        pairs=len(visits),
        false_positives=false,
        false_positive_rate=false / len(visits),
        smallest_difference=(stats.student(processes - 1) + stats.student_power(processes - 1, _POWER)) * standard_error,
        between_visit_spread=spread,
        visits=len(sound),
        latency_ms=statistics.median(process.a_ns for visit in visits for process in visit) / 1e6,
        measured_at=now,
    )


def _open(
    stack: ExitStack,
    models: tuple[ModelLike, ModelLike],
    devices: Sequence[str],
    precision: Precision | None,
    threads: int,
    shapes: Mapping[str, tuple[int, ...]],
    calibration: Path | None,
    inventory: Path | None,
    results: Path | None,
) -> tuple[_Side, _Side]:
    """Return both sides, ready to measure: agents live, leases held, models converted."""
    found = load_inventory(inventory)
    store = stack.enter_context(Store.open(results or found.results_dir))
    rigs = [stack.enter_context(Rig(found.device(name), threads, store)) for name in (devices or (None,))]
    cores = [core for rig in rigs for core in rig.session.occupied_cores]
    stack.enter_context(kept_off(cores))
    with Converter(cores=other_cores(cores)) as converter:
        converting = [converter.submit(model, precision=precision, shapes=shapes, calibration=calibration) for model in models]
        converted = [future.result() for future in converting]
    token = token_hex(16)
    for rig in rigs:
        rig.session.acquire(token=token)
    first, second = (_Side(rig, model) for rig, model in zip((rigs[0], rigs[-1]), converted, strict=True))
    return first, second


def _compare(sides: tuple[_Side, _Side], processes: int, progress: Callable[[Progress], None]) -> Comparison:
    a, b = sides
    done = _processes(sides, processes, progress)
    found = stats.ratio_of_pairs([process.pairs for process in done])
    difference = not found.low <= 1 <= found.high
    names = (
        (a.model.name, b.model.name)
        if a.rig is b.rig
        else (f"{a.model.name} on {a.rig.device.name}", f"{b.model.name} on {b.rig.device.name}")
    )
    return Comparison(
        a=a.model.name,
        b=b.model.name,
        device_a=a.rig.device.name,
        device_b=b.rig.device.name,
        threads=a.rig.threads,
        a_ms=statistics.median(process.a_ns for process in done) / 1e6,
        b_ms=statistics.median(process.b_ns for process in done) / 1e6,
        ratio=found.ratio,
        interval=(found.low, found.high),
        difference=difference,
        processes=len(done),
        pairs=found.pairs,
        sentence=_sentence(names, found, difference),
        verdict=_verdict(done),
        measured_at=datetime.now(UTC),
    )


def _sentence(names: tuple[str, str], found: stats.Ratio, difference: bool) -> str:
    a, b = names
    if not difference:
        widest = max(abs(found.low - 1), abs(found.high - 1))
        return f"No difference seen between {a} and {b}: if there is one, it is within {widest:.1%} (95%)."
    word = "slower" if found.ratio > 1 else "faster"
    near, far = sorted((abs(found.low - 1), abs(found.high - 1)))
    return f"{b} is {abs(found.ratio - 1):.1%} {word} than {a} ({near:.1%} to {far:.1%}, 95%)."


def _verdict(processes: Sequence[_Process]) -> Verdict:
    """Return the flaw that half of the processes or more have, the worst such; else steady."""
    counts = Counter(flaw for process in processes for flaw in process.flaws)
    common = [flaw for flaw, count in counts.items() if 2 * count >= len(processes)]
    return max(common, key=VERDICTS.index, default="steady")


def _processes(sides: tuple[_Side, _Side], processes: int, progress: Callable[[Progress], None], prefix: str = "") -> list[_Process]:
    """Measure, store as it comes, and return what each process says."""
    a, b = sides
    together = a.rig is b.rig
    name = f"{prefix}{a.model.name}" if a.model.sha256 == b.model.sha256 else f"{prefix}{a.model.name} against {b.model.name}"
    config = plan.RunConfig(threads=a.rig.threads)
    benchmarks: list[tuple[_Side, Subject, int]] = []
    latencies = []
    try:
        for side, other in ((a, b), (b, a)):
            subject = replace(side.rig.subject(side.model), design=f"compare {other.model.sha256}")
            benchmark = side.rig.store.start_benchmark(side.rig.stored_session, subject, side.rig.provenance(side.model, config))
            benchmarks.append((side, subject, benchmark))
            solo, numbers = side.rig.solo(side.model, config.solo_timeout_s)
            side.rig.store.add_solo(benchmark, solo, numbers)
            latencies.append(statistics.median(solo.warmup_ns))
            if a.model.sha256 == b.model.sha256 and together:
                latencies.append(latencies[0])
                break
        done = []
        for position in range(processes):
            _tell(progress, name, "measuring", position)
            swapped = position % 2 == 1
            done.append(
                _together(benchmarks, sides, latencies, swapped, config) if together else _apart(benchmarks, latencies, swapped, config)
            )
    except HarnessError as error:
        tail = error.stderr_tail if isinstance(error, DeviceError) else ""
        for side, _, benchmark in benchmarks:
            side.rig.store.fail(benchmark, Failure(type(error).__name__, error.message, tail))
        raise
    for side, _, benchmark in benchmarks:
        side.rig.store.finish(benchmark)
    _tell(progress, name, "done", processes)
    return done


def _together(
    benchmarks: Sequence[tuple[_Side, Subject, int]],
    sides: tuple[_Side, _Side],
    latencies: Sequence[float],
    swapped: bool,
    config: plan.RunConfig,
) -> _Process:
    """One process that alternates both models."""
    side, subject, _ = benchmarks[0]
    pairs = plan.compare_pairs(max(latencies))
    repetition = side.rig.repetition(
        [one.model for one in sides],
        plan.compare_schedule(swapped, pairs),
        subject=subject,
        chunk_ns=plan.COMPARE_CHUNK_NS,
        chunk_runs=plan.COMPARE_CHUNK_RUNS,
        timeout_s=config.timed_timeout_s(max(latencies), 2 * pairs * plan.COMPARE_CHUNK_RUNS),
    )
    for one, _, benchmark in benchmarks:
        one.rig.store.add_repetition(benchmark, repetition)
    threads = side.rig.threads
    a, b = (stats.estimate_repetition(repetition.data, index, threads) for index in (2, 3))
    return _Process(a.latency_ns, b.latency_ns, _pair_ratios(repetition.data, threads), _flaws(side, subject, repetition, (a, b)))


def _apart(benchmarks: Sequence[tuple[_Side, Subject, int]], latencies: Sequence[float], swapped: bool, config: plan.RunConfig) -> _Process:
    """One process on each device, one after the other."""
    found: list[tuple[stats.RepetitionEstimate, tuple[stats.Flaw, ...]]] = []
    order = list(zip(benchmarks, latencies, strict=True))
    for (side, subject, benchmark), latency_ns in reversed(order) if swapped else order:
        chunks, runs = plan.candidate_chunks(latency_ns)
        repetition = side.rig.repetition(
            [side.model],
            plan.benchmark_schedule(chunks),
            subject=subject,
            chunk_ns=plan.CANDIDATE_CHUNK_NS,
            chunk_runs=runs,
            timeout_s=config.timed_timeout_s(latency_ns, chunks * runs),
        )
        side.rig.store.add_repetition(benchmark, repetition)
        estimate = stats.estimate_repetition(repetition.data, 2, side.rig.threads)
        found.append((estimate, _flaws(side, subject, repetition, (estimate,))))
    (a, a_flaws), (b, b_flaws) = reversed(found) if swapped else found
    return _Process(a.latency_ns, b.latency_ns, (b.latency_ns / a.latency_ns,), (*a_flaws, *b_flaws))


def _pair_ratios(repetition: Repetition, threads: int) -> tuple[float, ...]:
    """Return B over A for each pair of neighbouring chunks."""
    chunks = [chunk for chunk in repetition.chunks if chunk.model >= 2]
    ratios = []
    for pair in zip(chunks[::2], chunks[1::2], strict=True):
        a, b = sorted(pair, key=lambda chunk: chunk.model)
        ratios.append(stats.chunk_latency_ns(b, threads) / stats.chunk_latency_ns(a, threads))
    return tuple(ratios)


def _flaws(
    side: _Side, subject: Subject, repetition: TimedRepetition, estimates: Sequence[stats.RepetitionEstimate]
) -> tuple[stats.Flaw, ...]:
    now = drift.reference_latencies_ns(repetition.data, side.rig.threads)
    usual = side.rig.context(subject, repetition.taken_at).baseline_then or now
    return tuple({flaw for one in estimates for flaw in stats.flaws(one, drifted=drift.drifted(now, usual))})


def _tell(progress: Callable[[Progress], None], name: str, phase: Phase, repetitions: int) -> None:
    progress(Progress(name, phase, repetitions, None, 0.0, 0.0))
