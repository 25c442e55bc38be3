"""The search itself: ask, predict what candidates use, evaluate their quality, reward, tell; trial after trial, and on after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from harness.tables.reading import plain

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
    goes on behind it; `settings` are what else the file must have been made with. A candidate that comes again is what it was. Raises
    ConfigError for another search's log and where nobody tells what has a target, MissingBlock where a table lacks a block, and what the
    resources raise.
    """
    names = [resource.name for resource in resources]
    if untold := [name for name in reward.targets if name not in names]:
        raise ConfigError(f"{', '.join(untold)} has a target, but no resource tells it", f"told: {', '.join(names) or 'nothing'}")
    own = {"batch": batch, "resources": names, "reward": {"kind": type(reward).__name__, **plain(reward)}}
    kept = Log(None if log is None else Path(log), {**own, **(settings or {})})
    known = list(kept.trials)
    before = {trial.tokens: trial for trial in known if set(trial.used) == set(names)}
    done: list[Trial] = []
    while len(done) < trials:
        asked = strategy.ask(batch)
        told = known[len(done) : len(done) + len(asked)]
        if [trial.tokens for trial in told] != asked[: len(told)]:
            raise ConfigError(
                f"{log}: the strategy asks for other candidates than it did", "its version or its seed is another: name another folder"
            )
        rest = asked[len(told) :]
        amounts = _amounts(resources, [tokens for tokens in dict.fromkeys(rest) if tokens not in before])
        for tokens in rest:
            number = len(done) + len(told)
            if tokens in before:
                trial = replace(before[tokens], number=number)
            else:
                trial = _tried(number, tokens, *amounts[tokens], quality, reward)
            if set(trial.used) == set(names):
                before[tokens] = trial
            kept.add(trial)
            told.append(trial)
            if progress is not None:
                progress(trial)
        strategy.tell(told)
        done += told
    return tuple(done)


def try_one(number: int, tokens: Tokens, quality: Quality, resources: Sequence[Resource], reward: Reward) -> Trial:
    """Return what becomes of one candidate."""
    return _tried(number, tokens, *_amounts(resources, [tokens])[tokens], quality, reward)


def _amounts(
    resources: Sequence[Resource], asked: Sequence[Tokens]
) -> dict[Tokens, tuple[dict[str, float], dict[str, tuple[float, float]]]]:
    """Return what each candidate uses, and the intervals of that."""
    if not asked:
        return {}
    array = np.array(asked, dtype=np.int64)
    found = {resource.name: resource.of(array) for resource in resources}
    return {
        tokens: (
            {name: float(amounts.values[row]) for name, amounts in found.items()},
            {
                name: (float(amounts.intervals[row, 0]), float(amounts.intervals[row, 1]))
                for name, amounts in found.items()
                if amounts.intervals is not None
            },
        )
        for row, tokens in enumerate(asked)
    }


def _tried(
    number: int,
    tokens: Tokens,
    used: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    quality: Quality,
    reward: Reward,
) -> Trial:
    """Return the trial of a candidate."""
    if lost := [name for name, amount in used.items() if math.isnan(amount)]:
        kept = {name: amount for name, amount in used.items() if name not in lost}
        return Trial(number, tokens, kept, None, None, {}, f"no {' and '.join(lost)}: it could not be measured")
    try:
        value = float(quality(tokens))
    except ChildFailed as error:
        return Trial(number, tokens, used, None, None, intervals, str(error))
    if not math.isfinite(value):
        return Trial(number, tokens, used, None, None, intervals, f"its quality is {value}")
    return Trial(number, tokens, used, value, float(reward.of(value, used)), intervals)
