"""Strategies and rewards by the names that the command line knows them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.errors import ConfigError
from harness.networks.space import Space
from harness.rewards import Absolute, Constrained, Reward, Weighted, hard
from harness.search.strategies import RandomSearch, RegularizedEvolution
from harness.search.trial import Strategy
from harness.tomlfile import nearest

REWARDS: Mapping[str, Callable[[Mapping[str, float]], Reward]] = {
    "soft": Weighted,
    "hard": hard,
    "absolute": Absolute,
    "constrained": Constrained,
}
STRATEGIES = ("mnasnet", "reinforce", "evolution", "random", "tpe", "nsga2")


def reward_named(name: str, targets: Mapping[str, float]) -> Reward:
    """Return a reward at its defaults; raises ConfigError for an unknown name."""
    if name not in REWARDS:
        raise ConfigError(f"unknown reward {name!r}{nearest(name, REWARDS)}", f"known: {', '.join(REWARDS)}")
    return REWARDS[name](targets)


def strategy_named(name: str, space: Space, seed: int, resources: Sequence[str] = ()) -> Strategy:
    """Return a strategy at its defaults; raises ConfigError for an unknown name.

    `mnasnet` is PPO, `reinforce` that of Zoph and Le; `nsga2` searches for quality and little of each of `resources` at once.
    """
    if name == "random":
        return RandomSearch(space, seed)
    if name == "evolution":
        return RegularizedEvolution(space, seed)
    if name in ("mnasnet", "reinforce"):
        from harness.search.policy import Ppo, Reinforce

        return Ppo(space, seed) if name == "mnasnet" else Reinforce(space, seed)
    if name in ("tpe", "nsga2"):
        from harness.search.optuna_search import OptunaSearch, sampler_named

        objectives = ("quality", *resources) if name == "nsga2" else ("reward",)
        return OptunaSearch(space, sampler_named(name, seed), objectives)
    raise ConfigError(f"unknown strategy {name!r}{nearest(name, STRATEGIES)}", f"known: {', '.join(STRATEGIES)}")
