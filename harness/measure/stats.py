"""From samples to estimates: clean samples, repetitions and their flaws, intervals, ratios. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from latency_agent.protocol import Chunk, Conditions, Repetition

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Flaw = Literal["disturbed", "drifted", "throttled", "unsteady"]

CONFIDENCE = 0.95
MOST_DISTURBED_SHARE = 0.1
STEADY_SHIFT = 0.05
THROTTLED_FREQUENCY = 0.95
_LIMITED_NOW, _LIMITED_SINCE, _HELD_DOWN = 0xF, 0xF0000, 0xC
_STEADY_BLOCKS = 12
_LEAST_STEADY_SAMPLES = 8


def latencies_ns(chunk: Chunk) -> Floats:
    """Return the latency of each sample: its wall time over its runs."""
    return np.asarray(chunk.wall_ns, dtype=np.float64) / chunk.repeats


def disturbed(chunk: Chunk, threads: int) -> Bools:
    """Return for each sample whether something else ran on its core.

    With one thread a sample is disturbed when it lasted longer than the CPU worked on it, by 0.5% and 1 us, or was switched out at a cost
    of more than 0.1%. With several, when the ratio of CPU to wall time is 5% below that of quiet samples (the 90th percentile).
    """
    wall = np.asarray(chunk.wall_ns, dtype=np.float64)
    cpu = np.asarray(chunk.cpu_ns, dtype=np.float64)
    switches = np.asarray(chunk.switches)
    if threads == 1:
        lost = wall - cpu
        return (lost > 0.005 * wall + 1000) | ((switches > 0) & (lost > 0.001 * wall))
    busy = cpu / wall
    return np.asarray(busy < 0.95 * np.percentile(busy, 90))


def clean_or_all(latencies: Floats, flags: Bools) -> Floats:
    """Return the undisturbed samples, or all of them where fewer than 3 or a tenth are."""
    clean = latencies[~flags]
    return clean if len(clean) >= max(3, 0.1 * len(latencies)) else latencies


def chunk_latency_ns(chunk: Chunk, threads: int) -> float:
    """Return the median of a chunk's clean samples."""
    return float(np.median(clean_or_all(latencies_ns(chunk), disturbed(chunk, threads))))


@dataclass(frozen=True)
class RepetitionEstimate:
    """What one worker process says of one model: the median of its clean samples, or of all where too few are clean."""

    latency_ns: float
    runs: int
    samples: int
    disturbed: int
    shift: float
    slowest_frequency: float | None
    limited: bool = False


def estimate_repetition(repetition: Repetition, model: int, threads: int) -> RepetitionEstimate:
    """Return the estimate of the model with index `model`; the repetition must hold chunks of it.

    `shift` is the largest relative step between an earlier and a later part of the clean samples, 0 where their blocks overlap.
    `slowest_frequency` is the lowest over the highest frequency seen, None where the device tells none;
    `limited` whether it says that it was held back.
    """
    chunks = [chunk for chunk in repetition.chunks if chunk.model == model]
    latencies = np.concatenate([latencies_ns(chunk) for chunk in chunks])
    flags = np.concatenate([disturbed(chunk, threads) for chunk in chunks])
    used = clean_or_all(latencies, flags)
    frequencies = [chunk.frequency_khz for chunk in repetition.chunks if chunk.frequency_khz is not None]
    return RepetitionEstimate(
        latency_ns=float(np.median(used)),
        runs=sum(chunk.repeats * len(chunk.wall_ns) for chunk in chunks),
        samples=len(latencies),
        disturbed=int(flags.sum()),
        shift=shift(used),
        slowest_frequency=min(frequencies) / max(frequencies) if frequencies else None,
        limited=limited(repetition.before, repetition.after),
    )


def limited(before: Conditions, after: Conditions) -> bool:
    """Return whether the kernel, Android, or a Raspberry Pi's firmware says that the device was held back meanwhile."""
    if any(now.cooling_state or now.thermal_status or now.battery_saver for now in (before, after)):
        return True
    if before.throttle_flags is None or after.throttle_flags is None:
        return False
    new = after.throttle_flags & ~before.throttle_flags
    return bool((before.throttle_flags | after.throttle_flags) & _LIMITED_NOW or new & _LIMITED_SINCE)


def held_down(now: Conditions) -> bool:
    """Return whether the kernel, Android, or a Raspberry Pi's firmware says that the device is held back now for its heat."""
    return bool(now.cooling_state or now.thermal_status or (now.throttle_flags or 0) & _HELD_DOWN)


def shift(latencies: Floats) -> float:
    """Return the largest relative step between the medians before and after a moment, 0 where there is none.

    The samples are cut into 12 blocks (fewer samples are blocks themselves); a moment counts when every block before it lies on one
    side of every block after it (of 12 blocks each moment by chance at most 2 times in C(12, 3) = 220), which finds trends and
    change-points alike. Too few samples give 0.
    """
    if len(latencies) < _LEAST_STEADY_SAMPLES:
        return 0.0
    blocks = np.array([np.median(block) for block in np.array_split(latencies, min(_STEADY_BLOCKS, len(latencies)))])
    largest = 0.0
    for cut in range(3, len(blocks) - 2):
        before, after = blocks[:cut], blocks[cut:]
        if before.max() < after.min() or before.min() > after.max():
            step = float(np.median(after) / np.median(before) - 1)
            largest = max(largest, step, -step)
    return largest


def flaws(estimate: RepetitionEstimate, *, drifted: bool) -> tuple[Flaw, ...]:
    """Return what is wrong with a repetition; `drifted` is what its reference models say."""
    found: list[Flaw] = []
    if estimate.disturbed > MOST_DISTURBED_SHARE * estimate.samples:
        found.append("disturbed")
    if drifted:
        found.append("drifted")
    lower = estimate.slowest_frequency is not None and estimate.slowest_frequency < THROTTLED_FREQUENCY
    if (lower and estimate.shift > STEADY_SHIFT / 2) or estimate.limited:
        found.append("throttled")
    if estimate.shift > STEADY_SHIFT:
        found.append("unsteady")
    return tuple(found)


@dataclass(frozen=True)
class Interval:
    """A centre and its 95% interval; the interval is None with fewer than 3 repetitions."""

    centre: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """The half-width relative to the centre."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2 / self.centre


def interval(repetitions: Sequence[float], between_visits: float) -> Interval:
    """Return the centre of the repetitions' medians with its two-level interval.

    The centre is the median of the means of all pairs (Hodges and Lehmann): as little moved by a stray repetition as a median, and nearly
    as sure as the mean, which Student's t speaks for; around the median it would hold 90% of the time where it says 95%. The first level
    is Student's t over repetitions, the second the spread between visits (a relative standard deviation), which repetitions of one
    visit cannot show; the two add in quadrature.
    """
    middle = centre(repetitions)
    if len(repetitions) < 3:
        return Interval(middle, None, None)
    within = student(len(repetitions) - 1) * float(np.std(repetitions, ddof=1)) / math.sqrt(len(repetitions))
    half = math.hypot(within, normal() * between_visits * middle)
    return Interval(middle, middle - half, middle + half)


def centre(repetitions: Sequence[float]) -> float:
    """Return the median of the means of all pairs, each value paired with itself too (Hodges and Lehmann)."""
    values = np.asarray(repetitions, dtype=np.float64)
    first, second = np.triu_indices(len(values))
    return float(np.median((values[first] + values[second]) / 2))


def unreachable(repetitions: Sequence[float], between_visits: float, precision: float) -> bool:
    """Return whether more repetitions in this visit cannot reach `precision`: the spread between visits alone exceeds it."""
    floor = normal() * between_visits
    reached = interval(repetitions, between_visits).half_width
    return floor > precision and reached is not None and reached < 1.1 * floor


@dataclass(frozen=True)
class Ratio:
    """A ratio with its 95% interval; `pairs` is how many pairs of samples it rests on."""

    ratio: float
    low: float
    high: float
    pairs: int


def ratio_of_pairs(processes: Sequence[Sequence[float]]) -> Ratio:
    """Return the ratio that alternated pairs show: per process the median of its pair ratios, over processes Student's t on logarithms.

    Pairs within a process share its memory layout, so the process is the unit that the interval counts. Needs 3 processes or more.
    """
    logs = np.array([math.log(float(np.median(pairs))) for pairs in processes])
    half = student(len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    centre = float(logs.mean())
    return Ratio(math.exp(centre), math.exp(centre - half), math.exp(centre + half), sum(len(pairs) for pairs in processes))


def between_visits(visits: Sequence[Sequence[float]]) -> float:
    """Return the relative standard deviation between visits beyond what repetitions within visits explain.

    One-way random-effects analysis of variance (method of moments) on logarithms; each visit holds its repetitions' latencies.
    """
    logs = [np.log(np.asarray(visit, dtype=np.float64)) for visit in visits]
    means = np.array([log.mean() for log in logs])
    within = float(np.mean([log.var(ddof=1) / len(log) for log in logs]))
    return math.sqrt(max(0.0, float(means.var(ddof=1)) - within))


def student(degrees: int) -> float:
    """Return the two-sided 95% quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def student_power(degrees: int, power: float) -> float:
    """Return the one-sided quantile of Student's t that a test of this power needs beyond its own."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, power))


def normal() -> float:
    """Return the two-sided 95% quantile of the normal distribution."""
    from scipy.special import ndtri

    return float(ndtri((1 + CONFIDENCE) / 2))
