"""Drift of the machine, seen through the reference models. Pure functions.

Two reference models, one bound by arithmetic and one larger than the L2 cache, run between the chunks of every repetition. What slows them
slows the candidate too, and shows in no counter: another tenant of the memory bus or of the shared cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from harness.measure.stats import estimate_repetition
from latency_agent.protocol import Repetition

DRIFT_BOUND = 0.1
"""How far a reference may run from its baseline before what was measured beside it is measured again."""

References = tuple[float, float]
"""A latency, or a ratio of latencies, for the arithmetic and the memory reference."""


def reference_latencies_ns(repetition: Repetition, threads: int) -> References:
    """Return the medians of the two references in a repetition."""
    first, second = (estimate_repetition(repetition, model, threads).latency_ns for model in (0, 1))
    return first, second


def medians(references: Sequence[References]) -> References:
    """Return the median of each reference over repetitions."""
    return median(first for first, _ in references), median(second for _, second in references)


def ratios(now: References, baseline: References) -> References:
    """Return how slow each reference is against its baseline: 1 as then, 1.1 10% slower."""
    return now[0] / baseline[0], now[1] / baseline[1]


def slowdown(now: References, baseline: References) -> float:
    """Return the machine's slowdown against its baseline: the geometric mean of the two references'."""
    first, second = ratios(now, baseline)
    return math.sqrt(first * second)
