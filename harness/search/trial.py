"""What is known of one candidate that a search tried, and who chooses candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.networks.space import Tokens


@dataclass(frozen=True)
class Trial:
    """A candidate, what it uses (latency and whatever else has a target), its quality and its reward.

    Both are None where it has none, as its child diverged or did not fit into memory: `failure` says why. In `intervals` are the 95%
    intervals of what it uses, as far as there are any. `predicted` is what was expected of it before that was measured, and
    `predicted_intervals` where that lay; one that was measured `late`, by a later trial or when the search had come to its end, taught the
    strategy what was predicted.
    """

    number: int
    tokens: Tokens
    used: Mapping[str, float]
    quality: float | None
    reward: float | None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    failure: str | None = None
    predicted: Mapping[str, float] = field(default_factory=dict)
    predicted_intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    late: bool = False


class Strategy(Protocol):
    """Chooses candidates, and learns from what became of them. The same seed, told the same, asks the same."""

    def ask(self, count: int) -> list[Tokens]:
        """Return the next candidates to try, none where all have been tried."""

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn what became of the candidates that were asked for last, in their order."""


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """Return the trial of the largest reward, the first of equals; None where none has one."""
    rewarded = [trial for trial in trials if trial.reward is not None]
    return max(rewarded, key=lambda trial: (trial.reward or 0.0, -trial.number), default=None)
