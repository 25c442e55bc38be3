"""Searches with a quality that is known: what they find, and that one which was killed goes on as if it had not been."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ConfigError, MissingBlock
from harness.networks.catalogue import space_named
from harness.networks.space import Space, Tokens
from harness.rewards import Constrained, Weighted
from harness.search.resources import ModelSize, MultAdds, TableLatency
from harness.search.run import ChildFailed, search
from harness.search.strategies import RandomSearch, RegularizedEvolution
from harness.search.trial import Strategy, Trial
from harness.tables.table import LatencyTable
from tests.tables import given

STRATEGIES: dict[str, Callable[[Space, int], Strategy]] = {
    "random": RandomSearch,
    "evolution": lambda space, seed: RegularizedEvolution(space, seed, population=20, sample=5),
}
T_MS = 8.0


@pytest.fixture(scope="module")
def space() -> Space:
    return space_named("mnasnet")


@pytest.fixture(scope="module")
def table(space: Space) -> LatencyTable:
    return given.of_space(space)


def quality(tokens: Tokens) -> float:
    """Return what grows with every token, as accuracy does with depth and width."""
    return 0.5 + 0.4 * sum(tokens) / 60


def run(space: Space, table: LatencyTable, name: str, *, seed: int = 0, trials: int = 96, **how: object) -> tuple[Trial, ...]:
    resources = [TableLatency(table, space), MultAdds(space), ModelSize(space)]
    reward = Weighted({"latency_ms": T_MS})
    return search(STRATEGIES[name](space, seed), quality, resources, reward, trials=trials, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_gives_the_same_search(space: Space, table: LatencyTable, name: str) -> None:
    assert run(space, table, name) == run(space, table, name)
    assert run(space, table, name)[0].tokens != run(space, table, name, seed=1)[0].tokens


def test_a_trial_holds_what_its_candidate_uses(space: Space, table: LatencyTable) -> None:
    first = run(space, table, "random", trials=1)[0]
    network = space.network(first.tokens)
    assert first.used == {
        "latency_ms": pytest.approx(table.predict(network).latency_ms),
        "mult_adds": network.costs.mult_adds,
        "size_bytes": network.costs.weight_bytes("float32"),
    }
    assert first.reward == pytest.approx(quality(first.tokens) * (first.used["latency_ms"] / T_MS) ** -0.07)


def test_evolution_finds_more_than_chance(space: Space, table: LatencyTable) -> None:
    def best(name: str, seed: int) -> float:
        return max(trial.reward or 0.0 for trial in run(space, table, name, seed=seed, trials=400))

    assert sum(best("evolution", seed) > best("random", seed) for seed in range(5)) >= 4


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_that_is_cut_anywhere_goes_on_as_if_it_was_not(space: Space, table: LatencyTable, name: str, tmp_path: Path) -> None:
    whole = run(space, table, name)
    log = tmp_path / "trials.jsonl"
    run(space, table, name, log=log)
    text = log.read_bytes()
    for length in (0, 10, len(text) // 3, len(text) // 2 + 7, len(text) - 1, len(text)):
        log.write_bytes(text[:length])
        evaluated: list[Trial] = []
        assert run(space, table, name, log=log, progress=evaluated.append) == whole
        assert log.read_bytes() == text
        assert len(evaluated) == len(whole) - max(0, text[:length].count(b"\n") - 1)


def test_a_child_that_fails_is_recorded_and_no_more(space: Space, table: LatencyTable) -> None:
    asked = itertools.count()

    def failing(tokens: Tokens) -> float:
        if next(asked) == 3:
            raise ChildFailed("its loss is nan after epoch 1")
        return quality(tokens)

    reward = Constrained({"latency_ms": T_MS})
    evolution = RegularizedEvolution(space, population=8, sample=2)
    found = search(evolution, failing, [TableLatency(table, space)], reward, trials=32, batch=8)
    assert (found[3].quality, found[3].reward, found[3].failure) == (None, None, "its loss is nan after epoch 1")
    assert [trial.failure for trial in found].count(None) == 31


def test_a_candidate_that_comes_again_is_not_evaluated_again(space: Space) -> None:
    tokens = space.sample(random.Random(0))

    class Same:
        def ask(self, count: int) -> list[Tokens]:
            return [tokens] * count

        def tell(self, trials: object) -> None:
            pass

    asked: list[Tokens] = []

    def counted(one: Tokens) -> float:
        asked.append(one)
        return 0.5

    found = search(Same(), counted, [MultAdds(space)], Weighted({"mult_adds": 1e8}), trials=5, batch=2)
    assert (len(asked), len(found)) == (1, 6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "asks for other candidates"),
        ({"batch": 8}, "has other settings: batch 16, not 8"),
        ({"settings": {"data": "cifar10"}}, "has other settings: data None, not cifar10"),
    ],
)
def test_a_log_of_another_search_is_refused(
    space: Space, table: LatencyTable, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    run(space, table, "random", trials=16, log=tmp_path / "trials.jsonl")
    with pytest.raises(ConfigError, match=said):
        run(space, table, "random", trials=16, log=tmp_path / "trials.jsonl", **change)  # type: ignore[arg-type]


def test_another_target_is_another_search(space: Space, tmp_path: Path) -> None:
    def run(target: float) -> None:
        search(RandomSearch(space), quality, [MultAdds(space)], Weighted({"mult_adds": target}), trials=16, log=tmp_path / "log")

    run(1e8)
    with pytest.raises(ConfigError, match="has other settings: reward"):
        run(1e6)
    with pytest.raises(ConfigError, match="latency_ms has a target, but no resource tells it"):
        search(RandomSearch(space), quality, [MultAdds(space)], Weighted({"latency_ms": 1.0}), trials=16)


def test_a_quality_that_is_no_number_is_a_failure(space: Space) -> None:
    found = search(RandomSearch(space), lambda _: float("nan"), [MultAdds(space)], Weighted({"mult_adds": 1e8}), trials=1, batch=1)
    assert (found[0].reward, found[0].failure) == (None, "its quality is nan")


def test_a_file_that_is_no_log_is_refused(space: Space, table: LatencyTable, tmp_path: Path) -> None:
    for data in (b"buy milk\n", b"buy milk", b"\xff\xfe\n", b'{"my": "data"}'):
        (tmp_path / "notes").write_bytes(data)
        with pytest.raises(ConfigError, match="no log of a search"):
            run(space, table, "random", log=tmp_path / "notes")
        assert (tmp_path / "notes").read_bytes() == data


def test_a_table_must_have_the_blocks_of_the_space(space: Space, table: LatencyTable) -> None:
    with pytest.raises(ConfigError, match="holds blocks of mnasnet, not of ofa"):
        TableLatency(table, space_named("ofa"))
    few = LatencyTable(table.origin, table.rows[:50])
    with pytest.raises(MissingBlock):
        TableLatency(few, space).of(np.array([space.sample(random.Random(0))]))
