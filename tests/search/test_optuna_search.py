"""Optuna's samplers as strategies, and a study of the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from harness.errors import ConfigError, TrainingFailed
from harness.networks.space import Tokens
from harness.rewards import Weighted
from harness.search.optuna_search import OptunaSearch, optuna_objective, sampler_named
from harness.search.resources import MultAdds
from harness.search.run import search
from tests.search.spaces import TEXTS, every, small

REWARD = Weighted({"mult_adds": 1e5})


def quality(tokens: Tokens) -> float:
    return 0.5 + sum(tokens) / 100


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("kind", TEXTS)
def test_a_sampler_searches_a_space_and_the_same_seed_the_same(tmp_path: Path, name: str, kind: str) -> None:
    space = small(kind, tmp_path)

    def run(seed: int) -> list[Tokens]:
        strategy = OptunaSearch(space, sampler_named(name, seed))
        return [trial.tokens for trial in search(strategy, quality, [MultAdds(space)], REWARD, trials=24, batch=8)]

    found = run(1)
    assert run(1) == found
    assert set(found) <= set(every(space))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", ["grid", "brute force"])
def test_a_sampler_that_has_tried_all_ends_the_search(tmp_path: Path, name: str) -> None:
    space = small("layers", tmp_path)
    stages = (replace(space.stages[0], layers=(1,)), replace(space.stages[1], layers=(1,)))
    space = replace(space, stages=stages)
    choices: dict[str, list[int]] = {
        f"stage {number + 1}{position.where}: {position.name}": [0, 1, 2]
        for number, stage in enumerate(stages)
        for position in stage.positions
    }
    sampler = optuna.samplers.GridSampler(choices, seed=0) if name == "grid" else optuna.samplers.BruteForceSampler(seed=0)
    found = search(OptunaSearch(space, sampler), quality, [MultAdds(space)], REWARD, trials=1000, batch=1)
    assert sorted(trial.tokens for trial in found) == sorted(every(space))


def test_several_objectives_are_told_apart(tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    strategy = OptunaSearch(space, sampler_named("nsga2", 0), objectives=("quality", "mult_adds"))
    found = search(strategy, quality, [MultAdds(space)], REWARD, trials=60, batch=20)
    front = {tuple(trial.values) for trial in strategy.study.best_trials}
    best = max(trial.quality or 0.0 for trial in found)
    assert best in {quality for quality, _ in front}
    assert min(trial.used["mult_adds"] for trial in found) in {mult_adds for _, mult_adds in front}


def test_a_study_of_ones_own_takes_the_objective(tmp_path: Path) -> None:
    space = small("layers", tmp_path)

    def failing(tokens: Tokens) -> float:
        if tokens[0] == 0:
            raise TrainingFailed("too small")
        return quality(tokens)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(optuna_objective(space, failing, [MultAdds(space)], REWARD), n_trials=20)
    best = study.best_trial
    tokens = space.decode(best.user_attrs["candidate"])
    assert best.value == pytest.approx(float(REWARD.of(quality(tokens), {"mult_adds": best.user_attrs["mult_adds"]})))
    states = {trial.state for trial in study.trials}
    assert states == {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}


def test_an_unknown_sampler_is_one_error() -> None:
    with pytest.raises(ConfigError, match="'annealing' is not known here"):
        sampler_named("annealing", 0)
