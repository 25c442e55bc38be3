"""The search itself: ask, tell what candidates use, evaluate their quality, reward, tell; trial after trial, and on after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from harness.errors import ConfigError, TrainingFailed
from harness.files import StrPath
from harness.networks.space import Tokens
from harness.rewards import Reward, at_quantile
from harness.search.log import Log
from harness.search.resources import Resource
from harness.search.trial import Strategy, Trial, best_of
from harness.tables.reading import plain

Quality = Callable[[Tokens], float]
"""Returns how good a candidate is, such as its accuracy from 0 to 1; raises TrainingFailed where it has none, which is an outcome too."""

BATCH = 16
_MEASURED_AT_ONCE = 8
"""As many as share a process on the device; all of them are kept before the next are measured."""

_Uses = tuple[dict[str, float], dict[str, tuple[float, float]]]
"""What a candidate uses, and the intervals of that."""


@runtime_checkable
class Parallel(Protocol):
    """A source of quality that evaluates several candidates at once."""

    def each(self, candidates: Sequence[Tokens]) -> Iterator[tuple[Tokens, float | TrainingFailed]]:
        """Yield each candidate with its quality, or why it has none, as soon as it is known."""


def search(
    strategy: Strategy,
    quality: Quality | Parallel,
    resources: Sequence[Resource],
    reward: Reward,
    *,
    trials: int,
    batch: int = BATCH,
    live: Sequence[Resource] = (),
    live_share: float = 1.0,
    quantile: float | None = None,
    log: StrPath | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[Trial], None] | None = None,
) -> tuple[Trial, ...]:
    """Return all trials, in batches that the strategy learns from: as many as are asked for, the last batch whole.

    They are fewer where the strategy has no more to ask.

    What `live` tells of the most promising candidates, this share of each batch by their reward, takes the place of what `resources` of
    the same names told, which a trial keeps as `predicted`. The trial of the largest reward is measured in any case, at the end: what was
    only predicted must not win by the prediction's error. With a `quantile` rewards are of the amounts that candidates stay below with
    this probability, as far as these have intervals; see `at_quantile`.

    What stands in the file `log` is not evaluated again: the strategy, which must be new and of the same seed, is told it, and the search
    goes on behind it; `settings` are what else the file must have been made with. A candidate that comes again is what it was. Raises
    ConfigError for another search's log and where nobody tells what has a target, MissingBlock where a table lacks a block, and what the
    resources raise.
    """
    names = [resource.name for resource in resources]
    if untold := [name for name in reward.targets if name not in names]:
        raise ConfigError(f"{', '.join(untold)} has a target, but no resource tells it", f"told: {', '.join(names) or 'nothing'}")
    own = {"batch": batch, "resources": names, "reward": {"kind": type(reward).__name__, **plain(reward)}}
    if quantile is not None:
        own |= {"quantile": quantile}
    if live:
        own |= {"live": [resource.name for resource in live], "live_share": live_share}
    worth = _Worth(reward, quantile)
    with Log(None if log is None else Path(log), {**own, **(settings or {})}) as kept:
        known = dict(kept.trials)
        before: dict[Tokens, Trial] = {}

        def remember(trial: Trial) -> None:
            # Of a candidate that came twice one line may have been measured when the search was cut short, and the other not yet.
            if not (trial.tokens in before and before[trial.tokens].predicted):
                before[trial.tokens] = trial

        def keep(trial: Trial) -> None:
            known[trial.number] = trial
            remember(trial)
            kept.add(trial)
            if progress is not None:
                progress(trial)

        for trial in known.values():
            remember(trial)
            if progress is not None:
                progress(trial)
        done: list[Trial] = []
        while len(done) < trials:
            numbered = dict(enumerate(strategy.ask(batch), start=len(done)))
            if not numbered:
                break
            if any(number in known and known[number].tokens != tokens for number, tokens in numbered.items()):
                raise ConfigError(
                    "the strategy asks for other candidates than those in its log",
                    "its version or its seed is another: name another folder",
                )
            for number, tokens in numbered.items():
                if number not in known and tokens in before:
                    keep(replace(before[tokens], number=number))
            new = list(dict.fromkeys(tokens for number, tokens in numbered.items() if number not in known))
            for trial in _tried(new, quality, resources, worth):
                for number, tokens in numbered.items():
                    if tokens == trial.tokens and number not in known:
                        keep(replace(trial, number=number))
            if live:
                chosen = _promising([known[number] for number in numbered], worth, live_share)
                for part in (chosen[first : first + _MEASURED_AT_ONCE] for first in range(0, len(chosen), _MEASURED_AT_ONCE)):
                    found = _amounts(live, [tokens for tokens in part if not before[tokens].predicted])
                    for tokens in part:
                        if tokens in found:
                            remember(_measured(before[tokens], found[tokens], worth))
                        for number, asked in numbered.items():
                            if asked == tokens and not known[number].predicted:
                                keep(replace(before[tokens], number=number))
            told = [known[number] for number in numbered]
            strategy.tell(told)
            done += told
        for index, trial in enumerate(done):
            if not trial.predicted and (last := before[trial.tokens]).predicted:
                done[index] = replace(last, number=trial.number, late=True)
                if progress is not None:
                    progress(done[index])
        while live and (best := best_of(done)) is not None and not best.predicted:
            if best.tokens not in kept.late:
                measured = _measured(best, _amounts(live, [best.tokens])[best.tokens], worth)
                kept.add(replace(measured, late=True))
            late = kept.late[best.tokens]
            done = [replace(late, number=trial.number) if trial.tokens == best.tokens else trial for trial in done]
            if progress is not None:
                progress(replace(late, number=best.number))
        return tuple(done)


@dataclass(frozen=True)
class _Worth:
    """What candidates are worth: a reward of the amounts that they use, or of those that they stay below with a probability."""

    reward: Reward
    quantile: float | None = None

    def of(self, quality: float, used: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> float:
        """Return the reward of one candidate."""
        if self.quantile is not None:
            averse = {name: at_quantile(used[name], ends, self.quantile) for name, ends in intervals.items()}
            used = {**used, **{name: float(amount) for name, amount in averse.items()}}
        return float(self.reward.of(quality, used))


def try_one(number: int, tokens: Tokens, quality: Quality, resources: Sequence[Resource], reward: Reward) -> Trial:
    """Return what becomes of one candidate."""
    return replace(next(_tried([tokens], quality, resources, _Worth(reward))), number=number)


def _tried(candidates: Sequence[Tokens], quality: Quality | Parallel, resources: Sequence[Resource], worth: _Worth) -> Iterator[Trial]:
    """Yield the trial of each candidate, without its number: those that cannot be measured first, the others as they are evaluated."""
    amounts = _amounts(resources, candidates)
    lost = {tokens: [name for name, amount in used.items() if math.isnan(amount)] for tokens, (used, _) in amounts.items()}
    for tokens, (used, _) in amounts.items():
        if lost[tokens]:
            kept = {name: amount for name, amount in used.items() if name not in lost[tokens]}
            yield Trial(0, tokens, kept, None, None, {}, _unmeasured(lost[tokens]))
    rest = [tokens for tokens in amounts if not lost[tokens]]
    for tokens, value in quality.each(rest) if isinstance(quality, Parallel) else _in_turn(rest, quality):
        used, intervals = amounts[tokens]
        if isinstance(value, TrainingFailed):
            yield Trial(0, tokens, used, None, None, intervals, str(value))
        elif not math.isfinite(value):
            yield Trial(0, tokens, used, None, None, intervals, f"its quality is {value}")
        else:
            yield Trial(0, tokens, used, value, worth.of(value, used, intervals), intervals)


def _in_turn(candidates: Sequence[Tokens], quality: Quality) -> Iterator[tuple[Tokens, float | TrainingFailed]]:
    for tokens in candidates:
        try:
            yield tokens, float(quality(tokens))
        except TrainingFailed as error:
            yield tokens, error


def _amounts(resources: Sequence[Resource], asked: Sequence[Tokens]) -> dict[Tokens, _Uses]:
    """Return what each candidate uses."""
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


def _promising(trials: Sequence[Trial], worth: _Worth, share: float) -> list[Tokens]:
    """Return the candidates of the largest rewards by what was predicted of them, this share of those that have one."""
    rewards = {}
    for trial in trials:
        if trial.quality is not None:
            ends = {name: both for name, both in trial.intervals.items() if name not in trial.predicted}
            rewards[trial.tokens] = worth.of(trial.quality, {**trial.used, **trial.predicted}, {**ends, **trial.predicted_intervals})
    return sorted(rewards, key=lambda tokens: -rewards[tokens])[: math.ceil(share * len(rewards))]


def _measured(trial: Trial, uses: _Uses, worth: _Worth) -> Trial:
    """Return a trial with what was measured in the place of what was predicted."""
    measured, intervals = uses
    before = replace(
        trial,
        predicted={name: trial.used[name] for name in measured},
        predicted_intervals={name: trial.intervals[name] for name in measured if name in trial.intervals},
    )
    if lost := [name for name, amount in measured.items() if math.isnan(amount)]:
        return replace(before, reward=None, failure=_unmeasured(lost))
    used, ends = {**trial.used, **measured}, {**trial.intervals, **intervals}
    assert trial.quality is not None
    return replace(before, used=used, intervals=ends, reward=worth.of(trial.quality, used, ends))


def _unmeasured(names: Sequence[str]) -> str:
    return f"no {' and '.join(names)}: it could not be measured"
