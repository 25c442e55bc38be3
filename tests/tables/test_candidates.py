from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from harness.errors import ConfigError, MissingBlock
from harness.networks.catalogue import space_named
from harness.networks.space_file import parse_space
from harness.tables.calibrate import calibrate
from harness.tables.table import LatencyTable, keys_of
from tests.tables import given

SPACES = {name: space_named(name) for name in ("mnasnet", "ofa")}


@pytest.fixture(scope="module")
def tables() -> dict[str, LatencyTable]:
    found = {}
    for name, space in SPACES.items():
        bare = given.of_space(space)
        found[name] = replace(bare, calibration=calibrate(bare, given.measured(bare, given.candidates(space, 20), 0.02)))
    return found


@pytest.mark.parametrize("name", SPACES)
@drawn(seed=st.integers(0, 2**32))
def test_tokens_and_networks_are_predicted_alike(tables: dict[str, LatencyTable], name: str, seed: int) -> None:
    space, table = SPACES[name], tables[name]
    generator = random.Random(seed)
    tokens = [space.sample(generator) for _ in range(5)]
    predictions = table.predict_tokens(space, np.array(tokens))
    for candidate, predicted in zip(tokens, predictions, strict=True):
        one = table.predict(space.network(candidate))
        assert predicted.latency_ms == pytest.approx(one.latency_ms)
        assert predicted.interval_ms == pytest.approx(one.interval_ms)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_any_whole_numbers_are_tokens(tables: dict[str, LatencyTable], dtype: type) -> None:
    space = SPACES["mnasnet"]
    tokens: npt.NDArray[np.integer] = np.array([space.sample(random.Random(3))], dtype=dtype)
    assert len(tables["mnasnet"].predict_tokens(space, tokens)) == 1


def test_no_candidates_have_no_predictions(tables: dict[str, LatencyTable]) -> None:
    space = SPACES["mnasnet"]
    assert len(tables["mnasnet"].predict_tokens(space, np.zeros((0, len(space.positions)), dtype=int))) == 0


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(("place", "token"), [(0, -1), (0, 99), (-1, 99)])
def test_a_token_out_of_range_is_named(tables: dict[str, LatencyTable], name: str, place: int, token: int) -> None:
    space = SPACES[name]
    tokens = np.array([space.sample(random.Random(seed)) for seed in range(3)])
    tokens[1, place] = token
    with pytest.raises(ConfigError, match=f"is option {token}, and {name} has"):
        tables[name].predict_tokens(space, tokens)


def test_a_choice_for_a_layer_that_is_not_there_is_an_error(tables: dict[str, LatencyTable]) -> None:
    space = SPACES["ofa"]
    tokens = np.zeros((2, len(space.positions)), dtype=int)
    tokens[1, 5] = 1
    with pytest.raises(ConfigError, match="chooses for layers that it does not have"):
        tables["ofa"].predict_tokens(space, tokens)


@pytest.mark.parametrize("tokens", [np.zeros(42, dtype=int), np.zeros((2, 3), dtype=int), np.zeros((2, 42))])
def test_an_array_of_another_shape_or_type_is_an_error(tables: dict[str, LatencyTable], tokens: npt.NDArray[np.int64]) -> None:
    with pytest.raises(ConfigError, match=r"is no candidates of mnasnet\nexpected: whole numbers \[candidates, 42\]"):
        tables["mnasnet"].predict_tokens(SPACES["mnasnet"], tokens)


def test_only_candidates_that_need_a_missing_block_raise(tables: dict[str, LatencyTable]) -> None:
    space, whole = SPACES["mnasnet"], tables["mnasnet"]
    one, other = np.zeros(42, dtype=int), np.ones(42, dtype=int)
    bare = replace(whole, calibration=None)
    known = set(keys_of(space.network(one.tolist())))
    part = replace(bare, rows=tuple(row for row in bare.rows if row.key in known))
    for _ in range(2):
        assert len(part.predict_tokens(space, one[None])) == 1
        with pytest.raises(MissingBlock) as raised:
            part.predict_tokens(space, np.stack([one, other]))
        assert set(raised.value.keys) == set(part.missing(space.network(other.tolist())))


def test_a_space_with_skips_says_what_to_predict_instead(tables: dict[str, LatencyTable]) -> None:
    space = space_named("zoph_le")
    with pytest.raises(ConfigError, match="zoph_le has skips: tokens alone do not predict it\npredict networks"):
        tables["mnasnet"].predict_tokens(space, np.zeros((1, len(space.positions)), dtype=int))


def test_a_stage_of_more_candidates_than_numbers_is_an_error(tables: dict[str, LatencyTable]) -> None:
    text = """
input = [8, 8, 3]
per_layer = true
stages = [{filters = 8, layers = 30}]
[choices]
kernel = [1, 3, 5]
[fixed]
op = "conv"
"""
    space = parse_space(text, Path("deep.toml"))
    with pytest.raises(ConfigError, match="too many to tell by a number"):
        tables["mnasnet"].predict_tokens(space, np.zeros((1, 30), dtype=int))
