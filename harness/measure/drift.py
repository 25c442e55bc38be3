"""Drift of the machine, seen through the reference models. Pure functions.

Two reference models run around and between the chunks of every repetition. The arithmetic one follows the core's speed (frequency,
throttling, a hypervisor's share) to 0.1%. The memory one is larger than the L2 cache; what it takes on its return, when the
arithmetic one has run for a chunk, tells whether someone else has used the shared cache and the memory bus meanwhile, which shows in
no counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import median

from harness.measure.stats import estimate_repetition
from latency_agent.protocol import Repetition

ARITHMETIC, MEMORY = 0, 1
"""The references' indices among the models of every repetition."""

DRIFT_BOUND = 0.1
"""How far a reference may run from its baseline before what was measured beside it is measured again."""

RETURN_BOUND = 0.25
"""The same for the memory reference on its return: a single run, which varies by 10% between quiet processes."""


@dataclass(frozen=True)
class References:
    """Latencies in nanoseconds (or ratios of them): each reference in steady runs, and the memory one's first run on its return."""

    arithmetic: float
    memory: float
    memory_return: float


def reference_latencies_ns(repetition: Repetition, threads: int) -> References:
    """Return what the references took in a repetition, in which at least one memory chunk follows an arithmetic one."""
    pairs = zip(repetition.chunks, repetition.chunks[1:], strict=False)
    returns = [after.discarded_ns[0] for before, after in pairs if (before.model, after.model) == (ARITHMETIC, MEMORY)]
    return References(
        arithmetic=estimate_repetition(repetition, ARITHMETIC, threads).latency_ns,
        memory=estimate_repetition(repetition, MEMORY, threads).latency_ns,
        memory_return=median(returns),
    )


def medians(references: Sequence[References]) -> References:
    """Return the median of each figure over repetitions."""
    return References(*(median(values) for values in zip(*map(astuple, references), strict=True)))


def ratios(now: References, baseline: References) -> References:
    """Return how slow each is against its baseline: 1 as then, 1.1 10% slower."""
    return References(now.arithmetic / baseline.arithmetic, now.memory / baseline.memory, now.memory_return / baseline.memory_return)


def drifted(now: References, baseline: References) -> bool:
    """Return whether a reference ran further from its baseline than its bound; a return that is faster than usual is no contention."""
    found = ratios(now, baseline)
    return abs(found.arithmetic - 1) > DRIFT_BOUND or abs(found.memory - 1) > DRIFT_BOUND or found.memory_return - 1 > RETURN_BOUND


def slowdown(now: References, baseline: References) -> float:
    """Return the slowdown of the core against its baseline, by which latencies are corrected: the arithmetic reference's."""
    return ratios(now, baseline).arithmetic
