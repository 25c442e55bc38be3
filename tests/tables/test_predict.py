from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import ConfigError, MissingBlock
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.tables.calibrate import calibrate
from harness.tables.table import Calibrated, LatencyTable, keys_of
from tests.tables import given

SPACE = given.mnasnet()
NETWORKS = given.candidates(SPACE, 120)
NOISE = 0.02


@pytest.fixture(scope="module")
def bare() -> LatencyTable:
    return given.table_of(*NETWORKS)


@pytest.fixture(scope="module")
def table(bare: LatencyTable) -> LatencyTable:
    return replace(bare, calibration=calibrate(bare, given.measured(bare, NETWORKS[:20], NOISE)))


def test_without_a_calibration_a_prediction_is_the_sum_and_claims_no_interval(bare: LatencyTable) -> None:
    network = NETWORKS[50]
    predicted = bare.predict(network)
    assert predicted.latency_ms == pytest.approx(sum(bare.by_key[key].warm_ms for key in keys_of(network)))
    assert predicted.interval_ms is None


def test_a_calibrated_prediction_is_what_the_form_makes_of_the_rows(table: LatencyTable) -> None:
    assert table.calibration is not None
    (beta,) = table.calibration.coefficients
    rows = [table.by_key[key] for key in keys_of(NETWORKS[50])]
    expected_ms = sum(row.warm_ms + beta * ((row.cold_ms or 0) - row.warm_ms) for row in rows)
    assert table.predict(NETWORKS[50]).latency_ms == pytest.approx(expected_ms)


@pytest.mark.parametrize("form", ["sum", "cold_penalty", "affine", "chain"])
def test_one_at_a_time_and_many_at_once_agree(bare: LatencyTable, form: str) -> None:
    networks = given.measured(bare, NETWORKS[:20], NOISE)
    if form in ("sum", "affine"):
        networks = [
            replace(one, measured_ms=(form == "affine") * 3 + sum(bare.by_key[key].warm_ms for key in one.keys)) for one in networks
        ]
    if form == "chain":
        networks = [replace(one, measured_ms=2 + sum(bare.by_key[key].chain_ms or 0 for key in one.keys)) for one in networks]
    calibration = calibrate(bare, networks)
    assert calibration.form == form
    table = replace(bare, calibration=calibration)
    many = table.predict_many(NETWORKS)
    assert len(many) == len(NETWORKS)
    for network, predicted in zip(NETWORKS, many, strict=True):
        one = table.predict(network)
        assert one.latency_ms == pytest.approx(predicted.latency_ms)
        assert one.interval_ms == pytest.approx(predicted.interval_ms)


def test_no_networks_have_no_predictions(table: LatencyTable) -> None:
    assert list(table.predict_many([])) == []


def test_networks_that_are_made_anew_are_predicted_the_same(table: LatencyTable) -> None:
    for network in NETWORKS[20:40]:
        first = table.predict(network)
        copy = Network.from_table(network.to_table())
        assert table.predict(copy) == first
        del copy  # so that new blocks may come to lie where old ones lay


def test_a_network_whose_blocks_read_several_others_is_predicted() -> None:
    nasnet = network_named("nasnet_a_mobile")
    table = given.table_of(nasnet)
    expected_ms = sum(table.by_key[key].warm_ms for key in keys_of(nasnet))
    assert table.predict(nasnet).latency_ms == pytest.approx(expected_ms)
    assert table.predict(nasnet).latency_ms == pytest.approx(expected_ms)


def test_a_missing_block_is_named_with_what_measures_it(table: LatencyTable) -> None:
    unknown = network_named("mobilenet_v2:resolution=160")
    with pytest.raises(MissingBlock) as raised:
        table.predict(unknown)
    assert raised.value.keys == table.missing(unknown)
    assert "the latency table of pi4 lacks 15 blocks: conv-f32-k3-s2-relu6@160x160x3, " in raised.value.message
    assert "and 12 more" in raised.value.message
    assert "--complete" in raised.value.hint


def test_the_missing_blocks_of_many_networks_are_named_at_once(table: LatencyTable) -> None:
    unknown = [network_named(f"mobilenet_v2:resolution={size}") for size in (160, 192)]
    with pytest.raises(MissingBlock) as raised:
        table.predict_many([*NETWORKS, *unknown])
    assert set(raised.value.keys) == {key for network in unknown for key in table.missing(network)}


def test_a_row_without_what_the_form_needs_is_as_good_as_missing(table: LatencyTable) -> None:
    assert table.calibration is not None
    calibrating = {key for one in table.calibration.networks for key in one.keys}
    network = next(one for one in NETWORKS if set(keys_of(one)) - calibrating)
    rows = tuple(row if row.key in calibrating else replace(row, cold_ms=None) for row in table.rows)
    with pytest.raises(MissingBlock) as raised:
        replace(table, rows=rows).predict(network)
    assert set(raised.value.keys) == set(keys_of(network)) - calibrating


def test_a_network_far_smaller_than_those_of_the_calibration_is_not_guessed(bare: LatencyTable) -> None:
    small = network_named("lenet_300_100")
    whole = bare.with_rows(given.table_of(small).rows)
    least = min(sum(bare.by_key[key].warm_ms for key in keys_of(one)) for one in NETWORKS[:20])
    networks = [
        Calibrated.of(one, sum(bare.by_key[key].warm_ms for key in keys_of(one)) - 0.5 * least) for one in NETWORKS[:20]
    ]  # as if each network saved a constant
    table = replace(whole, calibration=calibrate(whole, networks))
    with pytest.raises(ConfigError, match="far smaller than those it was fitted to"):
        table.predict(small)
    with pytest.raises(ConfigError, match="far smaller than those it was fitted to"):
        table.predict_many([small])


def half_width(table: LatencyTable, network: Network) -> float:
    predicted = table.predict(network)
    assert predicted.interval_ms is not None
    return predicted.interval_ms[1] - predicted.latency_ms


def test_an_interval_is_wider_where_the_rows_are_less_sure(table: LatencyTable) -> None:
    assert table.calibration is not None
    calibrating = {key for one in table.calibration.networks for key in one.keys}
    network = max(NETWORKS, key=lambda one: len(set(keys_of(one)) - calibrating))
    unsure = tuple(
        row if row.key in calibrating else replace(row, interval_ms=(0.5 * row.warm_ms, 1.5 * row.warm_ms)) for row in table.rows
    )
    assert half_width(replace(table, rows=unsure), network) > 1.1 * half_width(table, network)


def test_an_interval_is_wider_away_from_the_networks_of_the_calibration(bare: LatencyTable) -> None:
    networks = sorted(NETWORKS, key=lambda one: bare.predict(one).latency_ms)
    rows = tuple(replace(row, cold_ms=None, chain_ms=None) for row in bare.rows)
    warm = replace(bare, rows=rows)
    table = replace(warm, calibration=calibrate(warm, given.measured(bare, networks[40:60], NOISE)))
    assert table.calibration is not None
    assert table.calibration.form == "affine"
    near, far = networks[50], networks[0]
    assert half_width(table, far) / table.predict(far).latency_ms > 1.2 * half_width(table, near) / table.predict(near).latency_ms


@pytest.mark.parametrize("count", [6, pytest.param(20, marks=pytest.mark.long)])
def test_intervals_hold_95_percent_of_measurements(bare: LatencyTable, count: int) -> None:
    inside = [held for seed in range(40) for held in covered(bare, np.random.default_rng(seed), count)]
    assert 0.9 < np.mean(inside) < 0.98


def covered(bare: LatencyTable, generator: np.random.Generator, count: int) -> list[bool]:
    """Return for each network whether its interval holds a measurement of it, where rows, networks and measurements all err."""
    errors = generator.normal(0, given.ROW_SPREAD, len(bare.rows))
    rows = [
        replace(
            row,
            warm_ms=row.warm_ms * (1 + error),
            cold_ms=None if row.cold_ms is None else row.cold_ms * (1 + error),
            interval_ms=(row.warm_ms * (1 + error - 2.36 * given.ROW_SPREAD), row.warm_ms * (1 + error + 2.36 * given.ROW_SPREAD)),
        )
        for row, error in zip(bare.rows, errors, strict=True)
    ]
    drawn = replace(bare, rows=tuple(rows))
    own = generator.normal(0, 0.015, len(NETWORKS))  # of a network: what no form tells
    measured = [
        Calibrated.of(network, given.true_ms(bare, network) * (1 + error) * (1 + generator.normal(0, NOISE)))
        for network, error in zip(NETWORKS, own, strict=True)
    ]
    chosen = generator.permutation(len(NETWORKS))
    table = replace(drawn, calibration=calibrate(drawn, [measured[index] for index in chosen[:count]]))
    predictions = table.predict_many([NETWORKS[index] for index in chosen[count:]])
    return [
        predicted.interval_ms is not None and predicted.interval_ms[0] <= measured[index].measured_ms <= predicted.interval_ms[1]
        for predicted, index in zip(predictions, chosen[count:], strict=True)
    ]
