"""Rewards of searches that know what a candidate costs: quality and resources in, one number out. Pure, and vectorised over candidates.

A resource is whatever has a target in the same unit: latency on one device or several (ms), size or memory (bytes), mult-adds. `used` maps
its name to what candidates use, a number or an array [candidates]; so is `quality`, such as accuracy from 0 to 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

Floats = npt.NDArray[np.float64]
Used = Mapping[str, npt.ArrayLike]
Intervals = Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]

_LEAST = 0.01
"""No amount is taken for less than this share of what is known of it: a power of next to nothing would be worth more than all else."""


@dataclass(frozen=True)
class Reward(ABC):
    """A reward with a target for each resource."""

    targets: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, target in self.targets.items():
            if not (math.isfinite(target) and target > 0):
                raise ConfigError(f"the target of {name} is {target}", "expected: a finite number above 0")
        if not self.targets:
            raise ConfigError("a reward without targets", "name a resource and its target, such as latency_ms: 20")

    def of(self, quality: npt.ArrayLike, used: Used) -> Floats:
        """Return the rewards of candidates; raises ConfigError where a resource with a target is not told, or is no amount above 0."""
        shares = {name: self._share(name, used) for name in self.targets}
        return self._of(np.asarray(quality, dtype=np.float64), shares)

    def interval(self, quality: npt.ArrayLike, used: Intervals) -> tuple[Floats, Floats]:
        """Return the least and the largest rewards of candidates that use something between the ends of these intervals.

        Raises ConfigError as `of` does, and for ends that are not in order.
        """
        ends = {name: self._ends(name, used) for name in self.targets}
        known = np.asarray(quality, dtype=np.float64)
        worst = {name: self._worst(*pair) for name, pair in ends.items()}
        best = {name: self._best(*pair) for name, pair in ends.items()}
        return self._of(known, worst), self._of(known, best)

    def _ends(self, name: str, used: Intervals) -> tuple[Floats, Floats]:
        high = self._share(name, {each: ends[1] for each, ends in used.items()})
        low = np.asarray(used[name][0], dtype=np.float64) / self.targets[name]
        if not (low <= high).all():
            raise ConfigError(f"intervals of {name} do not end above where they begin", "give (low, high)")
        return np.maximum(low, _LEAST * high), high  # a noisy amount's interval may reach below 0

    def _share(self, name: str, used: Used) -> Floats:
        if name not in used:
            raise ConfigError(
                f"{name} has a target, but nobody tells how much of it candidates use", f"told: {', '.join(used) or 'nothing'}"
            )
        amount = np.asarray(used[name], dtype=np.float64)
        if not (np.isfinite(amount) & (amount > 0)).all():
            raise ConfigError(f"{name} holds what is no amount above 0", "measure or predict it for every candidate")
        return amount / self.targets[name]

    @abstractmethod
    def _of(self, quality: Floats, shares: Mapping[str, Floats]) -> Floats:
        """Return the rewards; `shares` are of the targets."""

    def _worst(self, low: Floats, high: Floats) -> Floats:
        """Return which share between two gives the least reward."""
        del low
        return high

    def _best(self, low: Floats, high: Floats) -> Floats:
        """Return which share between two gives the largest reward."""
        del high
        return low


@dataclass(frozen=True)
class Weighted(Reward):
    """`quality * product of (used / target)^w`, w = alpha where used <= target and beta elsewhere (Tan et al. 2019, equations 2 and 3).

    The defaults are the paper's soft constraint: to double the latency must earn 5% of quality. `alpha=0, beta=-1` is its hard one.
    """

    alpha: float = -0.07
    beta: float = -0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) <= 0):
                raise ConfigError(
                    f"{name} is {getattr(self, name)}", "expected: a finite number of 0 or less, or slow candidates are rewarded"
                )

    def _of(self, quality: Floats, shares: Mapping[str, Floats]) -> Floats:
        if (quality < 0).any():
            raise ConfigError(f"a quality of {quality.min():g}", "a product rewards slow candidates then: give a quality of 0 or more")
        reward = quality
        for share in shares.values():
            reward = reward * share ** np.where(share <= 1, self.alpha, self.beta)
        return reward


def hard(targets: Mapping[str, float]) -> Weighted:
    """Return MnasNet's hard constraint: quality up to the target, beyond it in inverse proportion to what is used."""
    return Weighted(targets, alpha=0.0, beta=-1.0)


@dataclass(frozen=True)
class Absolute(Reward):
    """`quality + beta * sum of |used / target - 1|` (Bender et al. 2020, equation 2): candidates below the target lose as well.

    Its maximum lies at the target, where MnasNet's drifts with what quality is worth.
    """

    beta: float = -0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.beta) and self.beta < 0):
            raise ConfigError(f"beta is {self.beta}", "expected: a finite number below 0")

    def _of(self, quality: Floats, shares: Mapping[str, Floats]) -> Floats:
        distance = sum((np.abs(share - 1) for share in shares.values()), start=np.zeros(()))
        return np.asarray(quality + self.beta * distance, dtype=np.float64)

    def _worst(self, low: Floats, high: Floats) -> Floats:
        return np.where(np.abs(low - 1) > np.abs(high - 1), low, high)

    def _best(self, low: Floats, high: Floats) -> Floats:
        return np.minimum(np.maximum(1.0, low), high)


@dataclass(frozen=True)
class Constrained(Reward):
    """Quality within all targets; beyond one of them minus what exceeds them, in shares: below any quality of 0 or more.

    So any feasible candidate comes before any other, and of the others the one that exceeds least (Deb 2000).
    """

    def _of(self, quality: Floats, shares: Mapping[str, Floats]) -> Floats:
        excess = sum((np.maximum(share - 1, 0.0) for share in shares.values()), start=np.zeros(()))
        return np.where(excess > 0, -excess, quality)


def at_quantile(latency_ms: npt.ArrayLike, interval_ms: npt.ArrayLike | None, quantile: float) -> Floats:
    """Return latencies in ms that candidates stay below with this probability: what a search that is averse to risk takes for theirs.

    Takes predictions [candidates] and the ends of their 95% intervals [candidates, 2], or those of one. Raises ConfigError without
    intervals, and for no probability between 0 and 1.
    """
    from scipy.special import ndtri

    if not 0 < quantile < 1:
        raise ConfigError(f"the quantile is {quantile}", "expected: a probability between 0 and 1")
    if interval_ms is None:
        raise ConfigError("predictions without intervals have no quantiles", "calibrate the table: build it with random networks")
    told_ms = np.asarray(latency_ms, dtype=np.float64)
    deviation_ms = (np.asarray(interval_ms, dtype=np.float64)[..., 1] - told_ms) / ndtri(0.975)
    return np.asarray(np.maximum(told_ms + ndtri(quantile) * deviation_ms, _LEAST * told_ms), dtype=np.float64)
