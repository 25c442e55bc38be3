from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from harness.errors import ConfigError, MissingBlock
from harness.networks.blocks import Conv
from harness.networks.named import network_named
from harness.tables.calibrate import calibrate, check_calibration
from harness.tables.forms import COLUMNS, FORMS, fit
from harness.tables.table import Calibrated, LatencyTable, Row, keys_of
from tests.tables import given

NETWORKS = [network_named(f"mobilenet_v{version}:resolution={size}") for version in (1, 2) for size in range(96, 256, 32)]


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return given.table_of(*NETWORKS)


def test_a_new_row_that_would_take_less_than_no_time_has_another_form_chosen(table: LatencyTable) -> None:
    networks = truth(table, lambda row: row.warm_ms - 0.01 * ((row.cold_ms or 0.0) - row.warm_ms))
    calibrated = replace(table, calibration=calibrate(table, networks))
    slow = replace(Row.of(Conv(8), ((7, 7, 8),), 0.01), cold_ms=10.0, chain_ms=0.01)
    completed = calibrated.with_rows([slow])
    assert completed.calibration is not None
    assert calibrated.calibration is not None
    assert completed.calibration.form != calibrated.calibration.form
    assert completed.predictor.block_ms(slow.key) > 0


def truth(table: LatencyTable, per_row: Callable[[Row], float], constant_ms: float = 0.0, noise: float = 0.0) -> list[Calibrated]:
    """Return measurements of the networks where each row adds `per_row`, off by 1 and -1 times the noise in turn."""
    sums = [sum(per_row(table.by_key[key]) for key in keys_of(network)) for network in NETWORKS]
    return [
        Calibrated.of(network, (constant_ms + ms) * (1 + noise * (-1) ** number))
        for number, (network, ms) in enumerate(zip(NETWORKS, sums, strict=True))
    ]


def column(name: str) -> Callable[[Row], float]:
    return lambda row: COLUMNS[name](row) or 0.0


TRUTHS: dict[str, tuple[Callable[[Row], float], float, tuple[float, ...]]] = {
    "sum": (column("warm"), 0.0, ()),
    "cold_penalty": (lambda row: column("warm")(row) + 0.4 * column("penalty")(row), 0.0, (0.4,)),
    "cold_weights": (lambda row: column("warm")(row) + 0.6 * column("weights")(row), 0.0, (0.6,)),
    "affine": (lambda row: 1.1 * column("warm")(row), 0.5, (0.5, 1.1)),
    "chain": (lambda row: 1.2 * column("chain")(row), 0.3, (0.3, 1.2)),
    "affine_mult_adds": (lambda row: 0.8 * column("warm")(row) + 1.5 * column("mult_adds")(row), 0.4, (0.4, 0.8, 1.5)),
    "affine_weights": (lambda row: 1.1 * column("warm")(row) + 0.6 * column("weights")(row), -0.2, (-0.2, 1.1, 0.6)),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_form_that_is_true_is_chosen_and_its_coefficients_found(table: LatencyTable, name: str) -> None:
    per_row, constant_ms, coefficients = TRUTHS[name]
    found = calibrate(table, truth(table, per_row, constant_ms))
    assert found.form == name
    assert found.coefficients == pytest.approx(coefficients)
    assert {score.form for score in found.scores} == set(FORMS)
    assert next(score.mape for score in found.scores if score.form == name) == pytest.approx(0, abs=1e-9)


def test_where_noise_hides_the_difference_the_form_with_fewer_coefficients_is_chosen(table: LatencyTable) -> None:
    exact = truth(table, column("warm"))
    whys = []
    for seed in range(40):
        errors = np.random.default_rng(seed).normal(1, 0.02, len(exact))
        noisy = [replace(one, measured_ms=one.measured_ms * error) for one, error in zip(exact, errors, strict=True)]
        found = calibrate(table, noisy)
        possible = [score for score in found.scores if not score.why.startswith("not chosen")]
        best = min(possible, key=lambda score: 1 if score.mape is None else score.mape)
        whys += [(best.form, score.why) for score in found.scores if score.form == found.form == "sum"]
    assert len(whys) >= 36
    misled = [(best, why) for best, why in whys if best != "sum"]
    assert len(misled) > 5
    assert all(why == f"chosen: as good as {best} within the noise, by fewer coefficients" for best, why in misled)


@pytest.mark.parametrize("name", FORMS)
@drawn(seed=st.integers(0, 2**32))
def test_what_is_left_out_is_predicted_as_by_a_fit_without_it(table: LatencyTable, name: str, seed: int) -> None:
    networks = given.measured(table, NETWORKS, 0.05, seed)
    whole = fit(FORMS[name], networks, table.by_key)
    for number, network in enumerate(networks):
        rest = fit(FORMS[name], networks[:number] + networks[number + 1 :], table.by_key)
        rows = [table.by_key[key] for key in network.keys]
        values = [FORMS[name].per_block(row, rest.coefficients) for row in rows]
        predicted_ms = FORMS[name].per_network(rest.coefficients) + sum(value or 0 for value in values)
        assert whole.left_out[number] == pytest.approx((network.measured_ms - predicted_ms) / network.measured_ms, abs=1e-9)


def test_coefficients_make_the_relative_error_least(table: LatencyTable) -> None:
    networks = given.measured(table, NETWORKS, 0.05)
    found = fit(FORMS["affine"], networks, table.by_key)
    sums = np.array([sum(table.by_key[key].warm_ms for key in network.keys) for network in networks])
    measured = np.array([network.measured_ms for network in networks])

    def squares(constant: float, slope: float) -> float:
        return float((((constant + slope * sums - measured) / measured) ** 2).sum())

    constant, slope = found.coefficients
    for nudge in (-1e-3, 1e-3):
        assert squares(constant, slope) < min(squares(constant + nudge, slope), squares(constant, slope + nudge))


def test_a_form_by_which_a_row_takes_less_than_no_time_is_not_chosen(table: LatencyTable) -> None:
    networks = truth(table, lambda row: column("warm")(row) - 0.01 * column("penalty")(row))
    assert calibrate(table, networks).form == "cold_penalty"
    slow = replace(table.rows[0], key="slow", block=None, cold_ms=1000 * table.rows[0].warm_ms)
    found = calibrate(replace(table, rows=(*table.rows, slow)), networks)
    assert found.form not in ("cold_penalty", "cold_weights")
    why = {score.form: score.why for score in found.scores}
    assert why["cold_penalty"].startswith("not chosen: it makes -")
    assert why["cold_penalty"].endswith(" ms of slow")


def test_a_form_whose_numbers_were_not_measured_is_not_chosen(table: LatencyTable) -> None:
    warm = replace(table, rows=tuple(replace(row, cold_ms=None, chain_ms=None) for row in table.rows))
    found = calibrate(warm, truth(table, column("chain")))
    assert found.form in ("sum", "affine", "affine_mult_adds")
    why = {score.form: (score.mape, score.why) for score in found.scores}
    assert why["chain"] == (None, f"the row of {table.rows[0].key} has no slope of chains")
    assert why["cold_penalty"][0] is None


@pytest.mark.parametrize(
    ("count", "fitted"),
    [
        (1, set[str]()),
        (2, {"sum"}),
        (3, {"sum", "cold_penalty", "cold_weights"}),
        (4, set(FORMS) - {"affine_mult_adds", "affine_weights"}),
        (5, set(FORMS) - {"affine_mult_adds"}),  # at five sizes of one network its warm latency goes with mult-adds
        (len(NETWORKS), set(FORMS)),
    ],
)
def test_few_networks_fit_few_coefficients(table: LatencyTable, count: int, fitted: set[str]) -> None:
    networks = given.measured(table, NETWORKS, 0.02)[:count]
    if not fitted:
        with pytest.raises(ConfigError, match="nothing to calibrate with: 1 networks do not tell 0 coefficients"):
            calibrate(table, networks)
        return
    assert {score.form for score in calibrate(table, networks).scores if score.mape is not None} == fitted


def test_what_cold_runs_take_longer_goes_to_weights_by_their_share(table: LatencyTable) -> None:
    row = next(row for row in table.rows if row.key == "dense-u1000-softmax@1280")
    share = 1_280_000 / (1_280_000 + 1280 + 1000)
    assert row.cold_ms is not None
    assert column("weights")(row) == pytest.approx(share * (row.cold_ms - row.warm_ms), rel=1e-4)
    assert COLUMNS["weights"](replace(row, block=None, key="foreign")) is None


def test_networks_that_are_all_alike_fit_no_line(table: LatencyTable) -> None:
    networks = given.measured(table, [NETWORKS[0]] * 6, 0.02)
    found = {score.form: score.why for score in calibrate(table, networks).scores}
    assert "too alike" in found["affine"]


def test_one_network_that_stands_out_does_not_decide_a_coefficient(table: LatencyTable) -> None:
    networks = given.measured(table, [*[NETWORKS[0]] * 6, NETWORKS[4]], 0.02)
    found = {score.form: score.why for score in calibrate(table, networks).scores}
    assert "one network alone" in found["affine"]


def test_a_network_with_an_unknown_block_calibrates_nothing(table: LatencyTable) -> None:
    other = Calibrated.of(network_named("mobilenet_v2:resolution=64"), 1.0)
    with pytest.raises(MissingBlock) as raised:
        calibrate(table, [*given.measured(table, NETWORKS, 0.02), other])
    assert len(raised.value.keys) == len(set(other.keys) - set(table.by_key))


def test_a_row_that_was_changed_since_is_noticed(table: LatencyTable) -> None:
    calibrated = replace(table, calibration=calibrate(table, given.measured(table, NETWORKS, 0.02)))
    check_calibration(calibrated)
    first = calibrated.rows[0]
    assert first.cold_ms is not None
    with pytest.raises(ConfigError, match="are not those of its networks"):
        check_calibration(replace(calibrated, rows=(replace(first, cold_ms=2 * first.cold_ms), *calibrated.rows[1:])))
