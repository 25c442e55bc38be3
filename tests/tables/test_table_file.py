from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.networks.blocks import Conv
from harness.networks.named import network_named
from harness.tables.calibrate import calibrate
from harness.tables.table import Calibration, HeldOut, LatencyTable, Row, keys_of
from harness.tables.table_file import parse_table, text_of
from tests.tables import given

NETWORKS = [network_named(f"mobilenet_v2:resolution={size}") for size in (96, 128, 160, 192, 224)]
HELD_OUT = HeldOut(100, 0.92, 0.99, 0.021, 0.31, -0.004, 0.97, 0.94, 0.018)


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    bare = given.table_of(*NETWORKS)
    return replace(bare, calibration=calibrate(bare, given.measured(bare, NETWORKS, 0.02)), held_out=HELD_OUT)


def test_a_table_is_the_same_after_its_file(table: LatencyTable, tmp_path: Path) -> None:
    assert LatencyTable.load(table.save(tmp_path / "pi4.json")) == table


AMOUNTS = st.floats(0, 1e300)
ROWS = st.builds(
    replace,
    st.sampled_from([Row.of(Conv(8, (3, 3)), ((8, 8, 3),), 1.0), Row("Logits-input:7x7x1280", None, (), 1.0)]),
    warm_ms=AMOUNTS,
    cold_ms=st.none() | AMOUNTS,
    chain_ms=st.none() | AMOUNTS,
    interval_ms=st.none() | st.tuples(AMOUNTS, AMOUNTS).map(lambda pair: (min(pair), max(pair))),
    spread_ms=st.none() | AMOUNTS,
    samples=st.integers(0, 2**63 - 1),
    processes=st.integers(0, 2**63 - 1),
    disturbed_share=st.floats(0, 1),
    measurement_ids=st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=3).map(tuple),
    measured_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@drawn(ROWS)
def test_every_value_of_a_row_is_kept_exactly(row: Row) -> None:
    made = LatencyTable(given.ORIGIN, (row,))
    assert parse_table(text_of(made), Path("t.json")) == made


def test_each_row_has_a_line_of_its_own(table: LatencyTable) -> None:
    lines = text_of(table).splitlines()
    for row in table.rows:
        assert sum(f'"key": "{row.key}"' in line for line in lines) == 1


def message(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parse_table(text, Path("pi4.json"))
    assert str(raised.value).startswith("pi4.json")
    return str(raised.value)


def test_a_file_that_is_cut_short_anywhere_is_an_error_that_says_so(table: LatencyTable) -> None:
    whole = text_of(replace(table, rows=table.rows[:2], calibration=None))
    for end in range(2, len(whole.rstrip())):
        assert "cut short" in message(whole[:end])
    assert "the file is no JSON" in message("# devices\n")
    assert ":22: the file is cut short" in message(whole[: whole.index('"calibration"') + 14])


def edited(table: LatencyTable, change: Callable[[dict[str, Any]], object]) -> str:
    data = json.loads(text_of(table))
    change(data)
    return json.dumps(data)


FIRST = "conv-f32-k3-s2-relu6@96x96x3"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(version=2), "pi4.json is of version 2, newer than 1"),
        (lambda data: data.update(version=None), "version is None"),
        (lambda data: data.update(format="table"), "is no latency table"),
        (lambda data: data.update(helt_out=1), "unknown field 'helt_out'; did you mean 'held_out'?"),
        (lambda data: data.pop("origin"), "the table lacks origin"),
        (lambda data: data.update(rows=[]), "a latency table without rows"),
        (lambda data: data.update(rows={}), "rows is no list"),
        (lambda data: data["rows"][0].update(warm_ms=-1.0), f"row {FIRST}: warm_ms is -1.0"),
        (lambda data: data["rows"][0].update(warm_ms=math.nan), "it holds NaN"),
        (lambda data: data["rows"][0].update(cold_ms=math.inf), "it holds Infinity"),
        (lambda data: data["rows"][0].update(warm_ms="1"), f"warm_ms of row {FIRST} is '1'"),
        (lambda data: data["rows"][0].update(warm_ms=True), f"warm_ms of row {FIRST} is True"),
        (lambda data: data["rows"][0].update(warm_ms=10**400), f"warm_ms of row {FIRST}"),
        (lambda data: data["rows"][0].update(interval_ms=[2, 1]), f"row {FIRST}: interval_ms is 2.0 to 1.0"),
        (lambda data: data["rows"][0].update(interval_ms=[2]), f"interval_ms of row {FIRST} is [2]"),
        (lambda data: data["rows"][0].update(disturbed_share=2), f"row {FIRST}: disturbed_share is 2.0"),
        (lambda data: data["rows"][0].update(measured_at="today"), f"measured_at of row {FIRST} is 'today'"),
        (lambda data: data["rows"][0].update(measured_at="2026-11-22"), f"measured_at of row {FIRST} is '2026-11-22'"),
        (lambda data: data["rows"][0].update(warmms=1), f"unknown field 'warmms' of row {FIRST}; did you mean 'warm_ms'?"),
        (lambda data: data["rows"][0].pop("warm_ms"), f"row {FIRST} lacks warm_ms"),
        (lambda data: data["rows"][0]["block"].update(filters=40), f"row {FIRST}: its key is not that of its block, conv-f40"),
        (lambda data: data["rows"][0]["block"].update(filters=0), f"block of row {FIRST}: filters of conv is 0"),
        (lambda data: data["rows"][0].update(inputs=[[0]]), f"row {FIRST}"),
        (lambda data: data["rows"][0].update(inputs=[]), f"row {FIRST}"),
        (lambda data: data["rows"].append(data["rows"][0]), f"{FIRST} has two rows"),
        (lambda data: data["rows"].append(3), "is 3"),
        (lambda data: data.update(version=1.0), "version is 1.0"),
        (lambda data: data["rows"][0].update(samples=10**30), f"samples of row {FIRST}"),
        (lambda data: data["origin"].update(reference_ns=0), "reference_ns is 0.0"),
        (lambda data: data["origin"].update(threads=-3), "threads is -3"),
        (lambda data: data["origin"].update(cores=[-1]), "cores are [-1]"),
        (lambda data: data["origin"].update(device="\ud800"), "device of the origin is"),
        (lambda data: data["held_out"].update(within_5=3.0), "within_5 is 3.0"),
        (lambda data: data["held_out"].update(tau=9.0), "tau is 9.0"),
        (lambda data: data["calibration"]["scores"][0].update(mape=-7), "mape is -7.0"),
        (lambda data: data["origin"].update(threads=None, threats=1), "unknown field 'threats' of the origin; did you mean 'threads'?"),
        (lambda data: data["calibration"]["networks"][0].update(measured_ms=0), "measured_ms is 0"),
        (lambda data: data["calibration"].update(form="sums"), "unknown form 'sums' of the calibration"),
        (lambda data: data["calibration"].update(coefficients=[0.9]), "are not those of its networks"),
        (lambda data: data["rows"].pop(), "there is no row of global_pool@7x7x1280"),
    ],
)
def test_what_is_edited_into_nonsense_is_named(table: LatencyTable, change: Callable[[dict[str, Any]], object], says: str) -> None:
    assert says in message(edited(table, change))


def test_a_field_that_stands_twice_is_an_error(table: LatencyTable) -> None:
    text = text_of(table).replace('"warm_ms"', '"warm_ms": 2, "warm_ms"', 1)
    assert "'warm_ms' stands twice in one object" in message(text)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"3", b'"x"', b"null", b"{}"])
def test_what_is_no_table_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"t\.json"):
        LatencyTable.load(path)


def test_a_missing_file_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the latency table .*none\.json.*\ngive the path"):
        LatencyTable.load(tmp_path / "none.json")


def test_a_table_that_cannot_be_written_leaves_the_old_one(table: LatencyTable, tmp_path: Path) -> None:
    path = table.save(tmp_path / "t.json")
    broken = replace(table, origin=replace(table.origin, fingerprint=object()))  # type: ignore[arg-type]  # what JSON cannot hold
    with pytest.raises(TypeError):
        broken.save(path)
    assert LatencyTable.load(path) == table
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]


def test_dropout_needs_no_row() -> None:
    network = network_named("mobilenet_v2")
    assert any(key.startswith("dropout") for key in network.block_keys)
    assert not any(key.startswith("dropout") for key in keys_of(network))
    assert given.table_of(network).missing(network) == ()


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "ef"}, {"runtime": "tflite-runtime"}, {"threads": 2}, {"precision": "int8"}, {"governor": None}, {"cores": (0,)}],
)
def test_tables_of_other_settings_do_not_mix(table: LatencyTable, changes: dict[str, Any]) -> None:
    other = replace(table, origin=replace(table.origin, **changes))
    with pytest.raises(ConfigError, match=f"do not mix: {next(iter(changes))} "):
        table.merged(other)


def test_tables_of_no_known_device_do_not_mix(table: LatencyTable) -> None:
    unknown = replace(table, origin=replace(table.origin, fingerprint=None))
    with pytest.raises(ConfigError, match="neither says which device"):
        unknown.merged(unknown)


def test_of_two_rows_the_later_one_is_kept(table: LatencyTable) -> None:
    first, second = table.rows[:2]
    later = replace(first, warm_ms=9.0, measured_at=datetime(2027, 1, 1, tzinfo=UTC))
    earlier = replace(second, warm_ms=9.0, measured_at=datetime(2025, 1, 1, tzinfo=UTC))
    merged = table.merged(replace(table, rows=(later, earlier), calibration=None))
    assert merged.rows[:2] == (later, second)
    assert (merged.calibration, merged.held_out) == (None, None)


def test_new_rows_leave_the_calibration_and_changed_ones_do_not(table: LatencyTable) -> None:
    new = Row.of(Conv(8), ((7, 7, 8),), 0.5)
    assert table.with_rows([new]).calibration == table.calibration
    assert isinstance(table.calibration, Calibration)
    assert table.with_rows([new, replace(table.rows[0], warm_ms=9.0)]).calibration is None
