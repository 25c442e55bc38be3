"""The search itself: ask, predict what candidates use, evaluate their quality, reward, tell; trial after trial, and on after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ConfigError, HarnessError
from harness.files import StrPath
from harness.networks.space import Tokens
from harness.rewards import Reward
from harness.search.log import Log
from harness.search.resources import Resource
from harness.search.trial import Strategy, Trial

Quality = Callable[[Tokens], float]
"""Returns how good a candidate is, such as its accuracy from 0 to 1; raises ChildFailed where it has no quality."""

BATCH = 16


class ChildFailed(HarnessError):
    """A candidate that has no quality: its training diverged, or it did not fit into memory. It is recorded, and the search goes on."""


def search(
    strategy: Strategy,
    quality: Quality,
    resources: Sequence[Resource],
    reward: Reward,
    *,
    trials: int,
    batch: int = BATCH,
    log: StrPath | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[Trial], None] | None = None,
) -> tuple[Trial, ...]:
    """Return all trials, in batches that the strategy learns from: as many as are asked for, the last batch whole.

    What stands in the file `log` is not evaluated again: the strategy, which must be new and of the same seed, is told it, and the search
    goes on behind it; `settings` are what the file must have been made with. A candidate that comes again keeps its quality. Raises
    ConfigError for another search's log, MissingBlock where a table lacks a block, and what the resources raise.
    """
    kept = Log(None if log is None else Path(log), settings or {})
    known = list(kept.trials)
    qualities = {trial.tokens: trial for trial in known}
    done: list[Trial] = []
    while len(done) < trials:
        asked = strategy.ask(batch)
        told = known[len(done) : len(done) + len(asked)]
        if [trial.tokens for trial in told] != asked[: len(told)]:
            raise ConfigError(
                f"{log}: the strategy asks for other candidates than it did", "its version or its seed is another: name another folder"
            )
        amounts = _amounts(resources, asked[len(told) :])
        for tokens, used, intervals in amounts:
            trial = _tried(len(done) + len(told), tokens, used, intervals, quality, reward, qualities.get(tokens))
            kept.add(trial)
            qualities[tokens] = trial
            told.append(trial)
            if progress is not None:
                progress(trial)
        strategy.tell(told)
        done += told
    return tuple(done)


def try_one(number: int, tokens: Tokens, quality: Quality, resources: Sequence[Resource], reward: Reward) -> Trial:
    """Return what becomes of one candidate."""
    ((_, used, intervals),) = _amounts(resources, [tokens])
    return _tried(number, tokens, used, intervals, quality, reward, None)


def _amounts(
    resources: Sequence[Resource], asked: Sequence[Tokens]
) -> list[tuple[Tokens, dict[str, float], dict[str, tuple[float, float]]]]:
    """Return each candidate with what it uses, and the intervals of that."""
    if not asked:
        return []
    array = np.array(asked, dtype=np.int64)
    found = {resource.name: resource.of(array) for resource in resources}
    return [
        (
            tokens,
            {name: float(amounts.values[row]) for name, amounts in found.items()},
            {
                name: (float(amounts.intervals[row, 0]), float(amounts.intervals[row, 1]))
                for name, amounts in found.items()
                if amounts.intervals is not None
            },
        )
        for row, tokens in enumerate(asked)
    ]


def _tried(
    number: int,
    tokens: Tokens,
    used: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    quality: Quality,
    reward: Reward,
    before: Trial | None,
) -> Trial:
    """Return the trial of a candidate, whose quality is that of an earlier one where there was one."""
    if lost := [name for name, amount in used.items() if math.isnan(amount)]:
        kept = {name: amount for name, amount in used.items() if name not in lost}
        return Trial(number, tokens, kept, None, None, {}, f"no {' and '.join(lost)}: it could not be measured")
    failure = None if before is None else before.failure
    value = None if before is None else before.quality
    if before is None:
        try:
            value = float(quality(tokens))
        except ChildFailed as error:
            failure = str(error)
    earned = None if value is None else float(reward.of(value, used))
    return Trial(number, tokens, used, value, earned, intervals, failure)
