"""From a measurement to the result that is reported. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from harness.devices.obstacles import LOW_BATTERY_PERCENT
from harness.measure import drift, stats
from harness.measure.result import VERDICTS, Result, Verdict
from harness.measure.samples import REFERENCES, Measurement, TimedRepetition
from latency_agent.protocol import Conditions

_LEAST_SOUND = 3
_LEAST_DELEGATED_SHARE = 0.5
_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Context:
    """`baseline` holds the references' usual latencies in nanoseconds, None until there are enough sessions.

    `baseline_then` holds what they were known to be when the measurement began: it alone decides which repetitions count, so that a
    raw latency stays what it was. `spread` is the relative standard deviation between visits, None before an A/A test.
    """

    baseline: drift.References | None
    baseline_then: drift.References | None
    spread: float | None

    def drifted(self, seen: Sequence[drift.References]) -> list[bool]:
        """Return for each repetition what its references say; without a baseline they are held against their own median."""
        usual = self.baseline_then or drift.medians(seen)
        return [drift.drifted(now, usual) for now in seen]


class Flawed(Protocol):
    """A repetition that was judged."""

    @property
    def flaws(self) -> tuple[stats.Flaw, ...]:
        """What is wrong with it."""


FlawedT = TypeVar("FlawedT", bound=Flawed)


@dataclass(frozen=True)
class Judged:
    """One repetition: its estimate, its references, and what is wrong with it."""

    estimate: stats.RepetitionEstimate
    references: drift.References
    flaws: tuple[stats.Flaw, ...]


@dataclass(frozen=True)
class Estimate:
    """The repetitions of a measurement, judged.

    `used` are those that the estimate rests on: the sound ones where there are 3 of them and they are at least half, else all.
    """

    judged: tuple[Judged, ...]
    used: tuple[Judged, ...]
    interval: stats.Interval
    flaw: stats.Flaw | None

    def verdict(self, asked: float) -> Verdict:
        """Return the worst verdict that applies, with `asked` as the relative half-width to reach."""
        if self.flaw is not None:
            return self.flaw
        reached = self.interval.half_width
        return "steady" if reached is not None and reached <= asked else "interval_not_reached"


def candidate_index(repetition: TimedRepetition, sha256: str) -> int:
    """Return the index of a model among the candidates of a repetition."""
    return repetition.models.index(sha256, REFERENCES)


def estimate(repetitions: Sequence[TimedRepetition], sha256: str, threads: int, context: Context) -> Estimate:
    """Return the estimate that at least one repetition gives of a model."""
    references = [drift.reference_latencies_ns(repetition.data, threads) for repetition in repetitions]
    judged = []
    for repetition, now, drifted in zip(repetitions, references, context.drifted(references), strict=True):
        found = stats.estimate_repetition(repetition.data, candidate_index(repetition, sha256), threads)
        judged.append(Judged(found, now, stats.flaws(found, drifted=drifted)))
    used, flaw = counted(judged)
    return Estimate(
        judged=tuple(judged),
        used=used,
        interval=stats.interval([one.estimate.latency_ns for one in used], context.spread or 0.0),
        flaw=flaw,
    )


def counted(judged: Sequence[FlawedT]) -> tuple[tuple[FlawedT, ...], stats.Flaw | None]:
    """Return those that count, and what is wrong with them.

    The sound ones count where there are 3 of them and they are at least half, else all do.
    """
    sound = tuple(one for one in judged if not one.flaws)
    enough = len(sound) >= _LEAST_SOUND and 2 * len(sound) >= len(judged)
    return (sound, None) if enough or len(sound) == len(judged) else (tuple(judged), _main_flaw(judged))


def summarise(measurement: Measurement, context: Context, *, from_store: bool, asked: float | None = None) -> Result:
    """Return what is reported of a measurement; `asked` is the precision to judge it by, by default the one it was made with."""
    subject, provenance, solo = measurement.subject, measurement.provenance, measurement.solo
    found = estimate(measurement.repetitions, subject.model_sha256, subject.threads, context)
    corrected_ms = reference_drift = elasticity = None
    if context.baseline is not None:
        latencies, seen = [one.estimate.latency_ns for one in found.used], [one.references for one in found.used]
        elasticity = drift.elasticity(latencies, seen)
        corrected_ms = stats.centre(drift.corrected(latencies, seen, context.baseline)) / _NS_PER_MS
        reference_drift = drift.ratios(drift.medians(seen), context.baseline).mobile - 1
    clean = _clean_latencies_ns(measurement, found)
    p5, p90, p95, p99 = (float(value) / _NS_PER_MS for value in np.percentile(clean, (5, 90, 95, 99)))
    latency_ms = found.interval.centre / _NS_PER_MS
    low, high = found.interval.low, found.interval.high
    samples = sum(one.estimate.samples for one in found.judged)
    conditions = [now for one in measurement.repetitions for now in (one.data.before, one.data.after)]
    return Result(
        model=provenance.model,
        sha256=subject.model_sha256,
        device=provenance.device,
        runtime=subject.runtime,
        runtime_version=subject.runtime_version,
        precision=provenance.precision,
        core=subject.cores[0],
        cores=subject.cores,
        core_chosen_by=provenance.core_chosen_by,
        governor=subject.governor,
        settings=_settings(conditions),
        threads=subject.threads,
        cold=subject.cold,
        latency_ms=latency_ms,
        latency_corrected_ms=corrected_ms,
        interval_ms=None if low is None or high is None else (low / _NS_PER_MS, high / _NS_PER_MS),
        interval_scope="these minutes" if context.spread is None else "visits",
        p5_ms=p5,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        min_ms=float(clean.min()) / _NS_PER_MS,
        init_ms=solo.init_ns / _NS_PER_MS,
        first_ms=solo.first_ns / _NS_PER_MS,
        peak_memory_bytes=solo.peak_memory_bytes,
        model_size_bytes=provenance.model_size_bytes,
        delegated_nodes=solo.delegated_nodes,
        total_nodes=solo.total_nodes,
        runs=sum(one.estimate.runs for one in found.judged),
        processes=len(found.judged),
        disturbed_share=sum(one.estimate.disturbed for one in found.judged) / samples,
        reference_drift=reference_drift,
        elasticity=elasticity,
        numbers=measurement.numbers,
        note=provenance.note,
        warnings=(*_warnings(measurement, found, context, asked or provenance.asked_interval), *_of_battery(conditions)),
        verdict=found.verdict(asked or provenance.asked_interval),
        from_store=from_store,
        measured_at=measurement.measured_at,
        fingerprint=subject.fingerprint,
        measurement_id=measurement.id,
    )


def _main_flaw(judged: Sequence[Flawed]) -> stats.Flaw:
    counts = Counter(flaw for one in judged for flaw in one.flaws)
    return max(counts, key=lambda flaw: (counts[flaw], VERDICTS.index(flaw)))


def _clean_latencies_ns(measurement: Measurement, found: Estimate) -> stats.Floats:
    """Return the undisturbed samples of the repetitions that the estimate rests on."""
    clean = []
    for repetition, judged in zip(measurement.repetitions, found.judged, strict=True):
        if judged in found.used:
            index = candidate_index(repetition, measurement.subject.model_sha256)
            chunks = [chunk for chunk in repetition.data.chunks if chunk.model == index]
            latencies = np.concatenate([stats.latencies_ns(chunk) for chunk in chunks])
            flags = np.concatenate([stats.disturbed(chunk, measurement.subject.threads) for chunk in chunks])
            clean.append(stats.clean_or_all(latencies, flags))
    return np.concatenate(clean)


def _warnings(measurement: Measurement, found: Estimate, context: Context, asked: float) -> tuple[str, ...]:
    solo = measurement.solo
    warnings = []
    if solo.delegated_nodes is not None and solo.total_nodes and solo.delegated_nodes < _LEAST_DELEGATED_SHARE * solo.total_nodes:
        covered = f"{solo.delegated_nodes} of {solo.total_nodes} operators"
        warnings.append(f"only {covered} run in the XNNPACK delegate; the rest take slower kernels")
    latencies = [one.estimate.latency_ns for one in found.used]
    if context.spread is not None and stats.unreachable(latencies, context.spread, asked):
        warnings.append(f"between visits this device varies by {context.spread:.1%}: one visit cannot tell a latency within {asked:.1%}")
    return tuple(warnings)


def _settings(seen: Sequence[Conditions]) -> tuple[str, ...]:
    """Return what was set under all of these conditions."""
    return tuple(name for name in seen[0].settings if all(name in now.settings for now in seen))


def _of_battery(seen: Sequence[Conditions]) -> Iterator[str]:
    """Yield what a device's battery may have done to a measurement under these conditions."""
    if any(now.charging for now in seen):
        yield "it was charging, which warms it: measured when it is full, or unplugged, it may be faster"
    lowest = min((now.battery_percent for now in seen if now.battery_percent is not None), default=100)
    if lowest <= LOW_BATTERY_PERCENT:
        yield f"its battery was at {lowest}%: many devices slow down on a low one"
    if any(now.battery_saver for now in seen):
        yield "battery saver was on, which holds it back"
