"""Searches with a quality that is known: what they find, and that one which was killed goes on as if it had not been."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.errors import ConfigError, TrainingFailed
from harness.networks.catalogue import space_named
from harness.networks.space import Space, Tokens
from harness.rewards import Absolute, Constrained, Reward, Weighted
from harness.search.resources import Amounts, Memory, ModelSize, MultAdds, TableLatency
from harness.search.run import search
from harness.search.strategies import RandomSearch, RegularizedEvolution
from harness.search.trial import Strategy, Trial, best_of
from harness.tables.calibrate import calibrate
from harness.tables.table import LatencyTable
from tests.search.spaces import small
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
        assert sorted(trial.number for trial in evaluated) == list(range(len(whole)))


def test_a_log_with_other_ends_of_lines_loses_nothing(space: Space, table: LatencyTable, tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    whole = run(space, table, "random", trials=32, log=log)
    run(space, table, "random", trials=16, log=(again := tmp_path / "again.jsonl"))
    again.write_bytes(text := again.read_bytes().replace(b"\n", b"\r\n"))
    assert run(space, table, "random", trials=32, log=again) == whole
    assert again.read_bytes() == text + b"".join(log.read_bytes().splitlines(keepends=True)[17:])


def test_a_child_that_fails_is_recorded_and_no_more(space: Space, table: LatencyTable) -> None:
    asked = itertools.count()

    def failing(tokens: Tokens) -> float:
        if next(asked) == 3:
            raise TrainingFailed("its loss is nan after epoch 1")
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
    for data in (b"buy milk\n", b"buy milk", b"\xff\xfe\n", b'{"my": "data"}', b"[" * 100_000 + b"\n", b"9" * 5000 + b"\n"):
        (tmp_path / "notes").write_bytes(data)
        with pytest.raises(ConfigError, match="no log of a search"):
            run(space, table, "random", log=tmp_path / "notes")
        assert (tmp_path / "notes").read_bytes() == data


def test_a_table_must_have_the_blocks_of_the_space(space: Space, table: LatencyTable) -> None:
    with pytest.raises(ConfigError, match="built for mnasnet, lacks 95 of the 96 blocks of ofa"):
        TableLatency(table, space_named("ofa"))
    few = LatencyTable(table.origin, table.rows[:50])
    with pytest.raises(ConfigError, match="blocks of mnasnet"):
        TableLatency(few, space)


class Device:
    """A stand-in for a device: candidates take a tenth more than the table says, and those of an odd sum cannot be run unless `odd_run`."""

    name = "latency_ms"

    def __init__(self, table: LatencyTable, space: Space) -> None:
        self._table = TableLatency(table, space)
        self.measured: list[Tokens] = []
        self.odd_run = False

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        self.measured += [tuple(line) for line in tokens.tolist()]
        values = 1.1 * self._table.of(tokens).values
        if not self.odd_run:
            values[tokens.sum(axis=1) % 2 == 1] = np.nan
        return Amounts(values)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_most_promising_are_measured_and_count_as_measured(space: Space, table: LatencyTable, share: float) -> None:
    device = Device(table, space)
    told: list[Trial] = []

    class Evolution(RegularizedEvolution):
        def tell(self, trials: Sequence[Trial]) -> None:
            told.extend(trials)
            super().tell(trials)

    strategy = Evolution(space, population=16, sample=4)
    reward = Weighted({"latency_ms": T_MS})
    found = search(strategy, quality, [TableLatency(table, space)], reward, trials=64, live=[device], live_share=share)
    assert [one for one, trial in zip(told, found, strict=True) if not trial.late] == [trial for trial in found if not trial.late]
    best = best_of(found)
    assert best is not None
    assert best.predicted  # what was only predicted does not win
    assert len(device.measured) == len(set(device.measured))
    measured = [trial for trial in found if trial.predicted]
    assert {trial.tokens for trial in measured} == set(device.measured)
    for trial in measured:
        if sum(trial.tokens) % 2:
            assert (trial.reward, trial.failure) == (None, "no latency_ms: it could not be measured")
            continue
        assert trial.used["latency_ms"] == pytest.approx(1.1 * trial.predicted["latency_ms"])
        assert trial.reward == pytest.approx(reward.of(trial.quality or 0, trial.used))
    first = sorted(found[:16], key=lambda trial: -float(reward.of(trial.quality or 0, {**trial.used, **trial.predicted})))
    assert all(trial.predicted for trial in first[: round(16 * share)])
    assert not any(trial.predicted for trial in first[round(16 * share) :] if not trial.late)


def test_a_search_that_measures_goes_on_where_it_was_cut(space: Space, table: LatencyTable, tmp_path: Path) -> None:
    def run(log: Path, device: Device) -> tuple[Trial, ...]:
        resources = [TableLatency(table, space)]
        strategy = RegularizedEvolution(space, population=16, sample=4)
        reward = Weighted({"latency_ms": T_MS})
        return search(strategy, quality, resources, reward, trials=48, live=[device], live_share=0.5, log=log)

    log, whole = tmp_path / "trials.jsonl", Device(table, space)
    found = run(log, whole)
    text = log.read_bytes()
    for length in range(0, len(text), 1999):
        log.write_bytes(text[:length])
        device = Device(table, space)
        assert run(log, device) == found
        assert log.read_bytes() == text
        assert device.measured == whole.measured[len(whole.measured) - len(device.measured) :]


def test_the_best_is_measured_at_the_end_and_once(space: Space, table: LatencyTable, tmp_path: Path) -> None:
    def run(device: Device) -> tuple[Trial, ...]:
        reward = Weighted({"latency_ms": T_MS})
        how = {"trials": 64, "live": [device], "live_share": 0.01, "log": tmp_path / "log"}
        return search(RegularizedEvolution(space, 0, 16, 4), quality, [TableLatency(table, space)], reward, **how)  # type: ignore[arg-type]

    first, again = Device(table, space), Device(table, space)
    found = run(first)
    late = [trial for trial in found if trial.late]
    assert late
    assert {trial.tokens for trial in late} <= set(first.measured)
    assert run(again) == found
    assert again.measured == []


def test_rewards_may_be_of_what_latencies_stay_below(space: Space, table: LatencyTable) -> None:
    calibration = calibrate(table, given.measured(table, given.candidates(space, 12), 0.02))
    resource = TableLatency(replace(table, calibration=calibration), space)
    reward = Weighted({"latency_ms": T_MS})
    (found,) = search(RandomSearch(space), quality, [resource], reward, trials=1, batch=1, quantile=0.975)
    _, high = found.intervals["latency_ms"]
    assert found.used["latency_ms"] < high
    assert found.reward == pytest.approx(float(reward.of(found.quality or 0, {"latency_ms": high})))


@pytest.mark.parametrize(
    ("reward", "quantile"), [(Absolute({"latency_ms": 3.0}), 0.9), (Weighted({"latency_ms": 3.0}), 0.1)], ids=["absolute", "soft"]
)
def test_a_search_by_quantiles_that_measures_goes_on_where_it_was_cut(
    space: Space, table: LatencyTable, tmp_path: Path, reward: Reward, quantile: float
) -> None:
    calibration = calibrate(table, given.measured(table, given.candidates(space, 12), 0.2))
    resource = TableLatency(replace(table, calibration=calibration), space)
    log = tmp_path / "trials.jsonl"

    def run() -> tuple[Trial, ...]:
        strategy = RegularizedEvolution(space, population=16, sample=4)
        device = Device(table, space)
        how = {"trials": 48, "live": [device], "live_share": 0.25, "quantile": quantile, "log": log}
        return search(strategy, quality, [resource], reward, **how)  # type: ignore[arg-type]

    found = run()
    lines = log.read_bytes().splitlines(keepends=True)
    for count in range(0, len(lines), 5):
        log.write_bytes(b"".join(lines[:count]))
        assert run() == found
        assert log.read_bytes() == b"".join(lines)


def test_what_a_later_trial_measured_counts_for_the_earlier(space: Space, table: LatencyTable) -> None:
    one: Tokens = (1, *(0,) * 41)
    two: Tokens = (0, 1, *(0,) * 40)

    class Again:
        def __init__(self) -> None:
            self._batches = iter([[one, two], [one]])

        def ask(self, count: int) -> list[Tokens]:
            del count
            return next(self._batches)

        def tell(self, trials: object) -> None:
            pass

    def quality(tokens: Tokens) -> float:
        return 0.5 if tokens == one else 0.9

    device = Device(table, space)
    device.odd_run = True
    reward = Weighted({"latency_ms": T_MS})
    found = search(Again(), quality, [TableLatency(table, space)], reward, trials=3, batch=2, live=[device], live_share=0.5)
    assert [trial.late for trial in found] == [True, False, False]
    assert found[0] == replace(found[2], number=0, late=True)
    assert device.measured == [two, one]


def test_a_candidate_that_could_not_be_measured_is_not_measured_again(space: Space, table: LatencyTable) -> None:
    tokens: Tokens = (1, *(0,) * 41)

    class Same:
        def ask(self, count: int) -> list[Tokens]:
            return [tokens] * count

        def tell(self, trials: object) -> None:
            pass

    device = Device(table, space)
    found = search(Same(), quality, [device], Weighted({"latency_ms": T_MS}), trials=4, batch=1)
    assert [trial.failure for trial in found] == ["no latency_ms: it could not be measured"] * 4
    assert device.measured == [tokens]


def test_memory_is_that_of_the_weights_and_of_what_is_alive_at_once(tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    tokens = (0,) * len(space.positions)
    network = space.network(tokens)
    (found,) = Memory(space).of(np.array([tokens])).values
    largest = max(math.prod(shape) + sum(map(math.prod, network.inputs_of(position))) for position, shape in enumerate(network.shapes[1:]))
    most = network.activation_bytes("float32") + 4 * math.prod(network.input)
    assert network.weight_bytes("float32") + 4 * largest <= found <= network.weight_bytes("float32") + most


def test_a_candidate_that_comes_twice_in_a_batch_is_measured_once_wherever_it_is_cut(
    space: Space, table: LatencyTable, tmp_path: Path
) -> None:
    one: Tokens = (1, *(0,) * 41)
    two: Tokens = (0, 1, *(0,) * 40)
    assert len(space.positions) == len(one) == len(two)

    class Twice:
        def ask(self, count: int) -> list[Tokens]:
            return [one, two, one, two][:count]

        def tell(self, trials: object) -> None:
            pass

    def run(log: Path, device: Device) -> tuple[Trial, ...]:
        reward = Weighted({"latency_ms": T_MS})
        return search(Twice(), quality, [TableLatency(table, space)], reward, trials=8, batch=4, live=[device], log=log)

    log = tmp_path / "trials.jsonl"
    whole = run(log, Device(table, space))
    lines = log.read_bytes().splitlines(keepends=True)
    for count in range(len(lines) + 1):
        log.write_bytes(b"".join(lines[:count]))
        device = Device(table, space)
        assert run(log, device) == whole
        assert log.read_bytes() == b"".join(lines)
        assert len(device.measured) == len(set(device.measured))


def test_two_searches_never_share_a_log(space: Space, table: LatencyTable, tmp_path: Path) -> None:
    def quality(tokens: Tokens) -> float:
        del tokens
        with pytest.raises(ConfigError, match="another search is at"):
            run(space, table, "random", log=tmp_path / "trials.jsonl")
        return 0.5

    found = search(
        RandomSearch(space), quality, [MultAdds(space)], Weighted({"mult_adds": 1e8}), trials=1, batch=1, log=tmp_path / "trials.jsonl"
    )
    assert found[0].quality == 0.5
    with pytest.raises(ConfigError, match="cannot be written"):
        run(space, table, "random", log=tmp_path / "trials.jsonl" / "log")


def test_children_that_end_out_of_order_make_the_same_search(space: Space, table: LatencyTable, tmp_path: Path) -> None:
    class Backwards:
        def each(self, candidates: Sequence[Tokens]) -> Iterator[tuple[Tokens, float | TrainingFailed]]:
            for tokens in reversed(candidates):
                yield tokens, quality(tokens)

    def run(log: Path) -> tuple[Trial, ...]:
        evolution = RegularizedEvolution(space, population=8, sample=4)
        return search(evolution, Backwards(), [TableLatency(table, space)], reward, trials=32, batch=8, log=log)

    reward = Weighted({"latency_ms": T_MS})
    evolution = RegularizedEvolution(space, population=8, sample=4)
    whole = search(evolution, quality, [TableLatency(table, space)], reward, trials=32, batch=8)
    log = tmp_path / "trials.jsonl"
    assert run(log) == whole
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 3])
    assert run(log) == whole
