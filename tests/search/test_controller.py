"""The controller and what learns by it, on spaces of which every candidate can be gone through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.networks.catalogue import space_named
from harness.networks.space import Space, Tokens
from harness.search.controller import Controller, active, steps_of
from harness.search.policy import Ppo, Reinforce
from harness.search.trial import Strategy, Trial
from tests.search.spaces import TEXTS, every, small


@pytest.fixture(scope="module", params=TEXTS)
def space(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Space:
    return small(request.param, tmp_path_factory.mktemp("spaces"))


def loosened(space: Space, seed: int = 0) -> Controller:
    """Return a controller whose weights are large enough for its choices to differ in probability."""
    controller = Controller(space, seed, units=8, layers=2)
    for weight in controller.weights:
        weight.assign(20 * weight)
    return controller


@pytest.mark.parametrize("name", ["mnasnet", "ofa", "zoph_le", "zoph_le_strides"])
def test_each_token_is_chosen_in_one_step(name: str) -> None:
    space = space_named(name)
    places = [place for step in steps_of(space) for place in range(step.first, step.first + (1 if step.options else step.skips))]
    assert places == list(range(len(space.positions)))
    assert [step.options for step in steps_of(space) if step.options] == [
        position.options for position in space.positions if not position.name.startswith("skip ")
    ]


def test_candidates_that_it_draws_are_of_the_space(space: Space) -> None:
    for tokens in Controller(space, units=8).sample(50):
        assert space.checked(tokens) == tokens


def test_probabilities_of_all_candidates_add_up_to_1(space: Space) -> None:
    logs, entropies = loosened(space).told(every(space))
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-4)
    assert np.ptp(logs) > 1
    assert (np.asarray(entropies) > 0).all()


def test_candidates_come_as_often_as_is_probable(space: Space) -> None:
    controller = loosened(space)
    candidates = every(space)
    probable = np.exp(controller.told(candidates)[0])
    drawn = Counter(controller.sample(4000))
    counts = np.array([drawn[tokens] for tokens in candidates])
    expected = 4000 * np.asarray(probable)
    known = expected > 5
    # Pearson's statistic has the mean of its degrees of freedom, and a standard deviation of the root of twice that.
    statistic = ((counts - expected)[known] ** 2 / expected[known]).sum()
    assert statistic < known.sum() + 5 * np.sqrt(2 * known.sum())


def test_what_is_not_there_is_not_chosen(tmp_path: Path) -> None:
    space = small("layers", tmp_path)
    candidates = every(space)
    layers = np.array([[1 + tokens[0], 1 + tokens[4]] for tokens in candidates])
    assert (active(space, np.array(candidates)).sum(axis=1) == 2 + layers.sum(axis=1)).all()
    drawn = loosened(space).sample(200)
    assert {tokens[3] for tokens in drawn if tokens[0] < 2} == {0}
    assert {tokens[3] for tokens in drawn if tokens[0] == 2} > {0}


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        pytest.param("stages", lambda space: Ppo(space, learning_rate=0.02), id="ppo"),
        pytest.param("skips", lambda space: Reinforce(space, learning_rate=0.02), id="reinforce", marks=pytest.mark.long),
    ],
)
def test_it_learns_what_earns_more(kind: str, make: Callable[[Space], Strategy], tmp_path: Path) -> None:
    space = small(kind, tmp_path)
    strategy = make(space)
    first = last = 0.0
    for step in range(20):
        trials = tried(strategy.ask(16))
        strategy.tell(trials)
        last = float(np.mean([trial.reward or 0.0 for trial in trials]))
        first = first or last
        if step == 5:  # batches that teach nothing, or that one child alone is left of
            strategy.tell([])
            strategy.tell([replace(trial, reward=5.0) for trial in trials])
            strategy.tell(trials[:1])
    best = max(map(earned, every(space)))
    assert last > first + 0.2 * (best - first)


def test_the_same_seed_draws_and_learns_the_same(tmp_path: Path) -> None:
    space = small("layers", tmp_path)

    def run(seed: int) -> list[list[Tokens]]:
        strategy, asked = Ppo(space, seed), []
        for _ in range(2):
            asked.append(strategy.ask(8))
            strategy.tell(tried(asked[-1]))
        return asked

    found = run(0)
    assert run(0) == found
    assert run(1) != found


def test_it_learns_from_one_candidate_at_a_time(tmp_path: Path) -> None:
    strategy = Ppo(small("stages", tmp_path))
    before = [weight.numpy() for weight in strategy._controller.weights]
    for _ in range(4):
        strategy.tell(tried(strategy.ask(1)))
    after = [weight.numpy() for weight in strategy._controller.weights]
    assert any((one != other).any() for one, other in zip(before, after, strict=True))


def test_a_stage_without_choices_is_no_step_and_a_space_without_any_is_refused(tmp_path: Path) -> None:
    space = small("layers", tmp_path)
    fixed = replace(space.stages[0], layers=(1,), choices=(), fixed=(*space.stages[0].fixed, ("kernel", 3), ("filters", 8)))
    some = replace(space, stages=(fixed, space.stages[1]))
    assert set(Controller(some, units=8).sample(20)) <= set(every(some))
    with pytest.raises(ConfigError, match="layers has one candidate: there is nothing to choose"):
        Controller(replace(space, stages=(fixed,)))


def earned(tokens: Tokens) -> float:
    return float(sum(tokens))


def tried(asked: list[Tokens]) -> list[Trial]:
    return [Trial(number, tokens, {}, earned(tokens), earned(tokens)) for number, tokens in enumerate(asked)]
