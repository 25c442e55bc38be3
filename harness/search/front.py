"""The Pareto front of a search: candidates than which no other is as good and cheaper, or better and as cheap."""

from __future__ import annotations

from collections.abc import Iterable

from harness.errors import ConfigError
from harness.search.trial import Trial


def pareto_front(trials: Iterable[Trial], resource: str) -> tuple[Trial, ...]:
    """Return the trials of the front, the cheapest first; of equals the earlier. Those without a reward are no part of it.

    Raises ConfigError where trials do not tell how much of the resource they use.
    """
    known = [trial for trial in trials if trial.reward is not None]
    if without := [trial for trial in known if resource not in trial.used]:
        raise ConfigError(f"trial {without[0].number} does not tell its {resource}", f"it tells {', '.join(without[0].used) or 'nothing'}")
    front: list[Trial] = []
    for trial in sorted(known, key=lambda one: (one.used[resource], -(one.quality or 0.0), one.number)):
        if not front or (trial.quality or 0.0) > (front[-1].quality or 0.0):
            front.append(trial)
    return tuple(front)


def hypervolume(front: Iterable[Trial], resource: str, most: float, least: float = 0.0) -> float:
    """Return the area that a front dominates, in quality times the resource's unit, up to a reference point.

    That is `most` of the resource at the quality `least`: what lies beyond it counts nothing (Zitzler and Thiele 1998).
    """
    area, best = 0.0, least
    inside = [trial for trial in front if trial.used[resource] < most and (trial.quality or 0.0) > least]
    for trial in inside:
        quality = trial.quality or 0.0
        area += (most - trial.used[resource]) * (quality - best)
        best = quality
    return area
