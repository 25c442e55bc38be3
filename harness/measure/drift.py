"""Drift of the machine, seen through the reference models. Pure functions.

Two reference models run around and between the chunks of every repetition. The mobile one is of the candidates' kind and follows what
slows them alike: frequency, throttling, whoever shares the core's units or the caches. The memory one is larger than the L2 cache; what
it takes on its return, when the mobile one has run for a chunk, tells whether someone else has used the shared cache and the memory
bus meanwhile, which shows in no counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import median

import numpy as np

from harness.measure.stats import estimate_repetition
from latency_agent.protocol import Repetition

MOBILE, MEMORY = 0, 1
"""The references' indices among the models of every repetition."""

DRIFT_BOUND = 0.1
"""How far a reference may run from its baseline before what was measured beside it is measured again."""

PRIOR_SPREAD = 0.05
"""How much repetitions must vary for their own elasticity to count as much as the expected one, 1."""

RETURN_BOUND = 0.25
"""As `DRIFT_BOUND`, for the memory reference on its return: a single run, which varies by 10% between quiet processes."""


@dataclass(frozen=True)
class References:
    """Latencies in nanoseconds (or ratios of them): each reference in steady runs, and the memory one's first run on its return."""

    mobile: float
    memory: float
    memory_return: float


def reference_latencies_ns(repetition: Repetition, threads: int) -> References:
    """Return what the references took in a repetition, in which at least one memory chunk follows a mobile one."""
    pairs = zip(repetition.chunks, repetition.chunks[1:], strict=False)
    returns = [after.discarded_ns[0] for before, after in pairs if (before.model, after.model) == (MOBILE, MEMORY)]
    return References(
        mobile=estimate_repetition(repetition, MOBILE, threads).latency_ns,
        memory=estimate_repetition(repetition, MEMORY, threads).latency_ns,
        memory_return=median(returns),
    )


def medians(references: Sequence[References]) -> References:
    """Return the median of each figure over repetitions."""
    return References(*(median(values) for values in zip(*map(astuple, references), strict=True)))


def ratios(now: References, baseline: References) -> References:
    """Return how slow each is against its baseline: 1 as then, 1.1 10% slower."""
    return References(now.mobile / baseline.mobile, now.memory / baseline.memory, now.memory_return / baseline.memory_return)


def drifted(now: References, baseline: References) -> bool:
    """Return whether a reference ran further from its baseline than its bound; a return that is faster than usual is no contention."""
    found = ratios(now, baseline)
    return abs(found.mobile - 1) > DRIFT_BOUND or abs(found.memory - 1) > DRIFT_BOUND or found.memory_return - 1 > RETURN_BOUND


def elasticity(latencies: Sequence[float], seen: Sequence[References]) -> float:
    """Return by how many percent a model's latency moves where the mobile reference's moves by one.

    Least squares on logarithms over repetitions, drawn towards 1 by as much as repetitions that vary by 5%: where hardly anything varies,
    a slower core slows all models alike; where others use the caches, models that wait for memory follow less than the rest. Between 0
    and 2: what lies beyond is noise.
    """
    x, y = (np.log(values) for values in ([one.mobile for one in seen], latencies))
    x, y = x - x.mean(), y - y.mean()
    prior = len(x) * PRIOR_SPREAD**2
    return float(np.clip((x @ y + prior) / (x @ x + prior), 0, 2))


def corrected(latencies: Sequence[float], seen: Sequence[References], baseline: References) -> list[float]:
    """Return what a model's repetitions would have taken, had the mobile reference run at its baseline beside them."""
    strength = elasticity(latencies, seen)
    return [latency / ratios(now, baseline).mobile ** strength for latency, now in zip(latencies, seen, strict=True)]
