"""Optuna's samplers as strategies here, and searches here as objectives of a study there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.errors import ConfigError
from harness.networks.space import Space, Tokens
from harness.rewards import Reward
from harness.search.resources import Resource
from harness.search.run import Quality, try_one
from harness.search.trial import Trial

if TYPE_CHECKING:
    import optuna


class OptunaSearch:
    """Asks a sampler of Optuna. It learns from the reward; or, given names of amounts such as quality and latency_ms, from several at once.

    With several objectives, as for NSGA-II, quality is to be large and each resource small.
    """

    def __init__(self, space: Space, sampler: optuna.samplers.BaseSampler, objectives: Sequence[str] = ("reward",)) -> None:
        """Take a sampler, with its seed, and what it is told of each trial."""
        import optuna
        from optuna.study import StudyDirection

        larger = ("reward", "quality")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._objectives = tuple(objectives)
        directions = [StudyDirection.MAXIMIZE if name in larger else StudyDirection.MINIMIZE for name in objectives]
        self.study = optuna.create_study(sampler=sampler, directions=directions)
        self._ended = False
        self.study.stop = self._end  # type: ignore[method-assign]  # Optuna's own is for its own loop; samplers that tried all call it
        self._asked: list[optuna.Trial] = []

    def _end(self) -> None:
        self._ended = True

    def ask(self, count: int) -> list[Tokens]:
        """Return candidates that the sampler chooses, none once it has tried all."""
        if self._ended:
            return []
        self._asked = [self.study.ask() for _ in range(count)]
        return [suggested(self._space, trial) for trial in self._asked]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Tell the sampler what became of them; those without a reward have failed."""
        import optuna

        for asked, trial in zip(self._asked, trials, strict=True):
            if trial.reward is None or trial.quality is None:
                self.study.tell(asked, state=optuna.trial.TrialState.FAIL)
                continue
            amounts = {"reward": trial.reward, "quality": trial.quality, **trial.used}
            if untold := [name for name in self._objectives if name not in amounts]:
                raise ConfigError(f"{', '.join(untold)} is to be searched for, but nobody tells it", f"told: {', '.join(amounts)}")
            self.study.tell(asked, [amounts[name] for name in self._objectives])


def suggested(space: Space, trial: optuna.Trial) -> Tokens:
    """Return the candidate that a trial of Optuna suggests, a categorical parameter for each choice.

    Choices of layers that are not there are suggested too, and not taken: a sampler that crosses candidates inherits what all of them have.
    """
    tokens: list[int] = []
    for number, stage in enumerate(space.stages):
        part: list[int] = []
        for position in stage.positions:
            name = f"stage {number + 1}{position.where}: {position.name}"
            part.append(int(trial.suggest_categorical(name, list(range(position.options)))))
        active = stage.active(part)
        tokens += part[:active] + [0] * (len(part) - active)
    return space.checked(tokens)


def optuna_objective(space: Space, quality: Quality, resources: Sequence[Resource], reward: Reward) -> Callable[[optuna.Trial], float]:
    """Return the objective of a study to maximize: the reward of the candidate that a trial suggests.

    What it uses, its quality and its text stand in the trial's user attributes. A child that failed prunes its trial; a candidate that
    comes again is what it was. Raises ConfigError in a study that minimizes.
    """
    known: dict[Tokens, Trial] = {}

    def objective(trial: optuna.Trial) -> float:
        import optuna

        if trial.study.directions != [optuna.study.StudyDirection.MAXIMIZE]:
            raise ConfigError("the study does not maximize one number", 'optuna.create_study(direction="maximize")')
        tokens = suggested(space, trial)
        if tokens not in known:
            known[tokens] = try_one(trial.number, tokens, quality, resources, reward)
        found = known[tokens]
        trial.set_user_attr("candidate", space.encode(tokens))
        for name, amount in found.used.items():
            trial.set_user_attr(name, amount)
        if found.reward is None:
            raise optuna.TrialPruned(found.failure or "")
        trial.set_user_attr("quality", found.quality)
        return found.reward

    return objective


def sampler_named(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return a sampler of Optuna by its name here; raises ConfigError for an unknown one."""
    import optuna

    made: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=False),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    if name not in made:
        raise ConfigError(
            f"Optuna's sampler {name!r} is not known here", f"known: {', '.join(made)}; any other: OptunaSearch(space, sampler)"
        )
    return made[name]()
