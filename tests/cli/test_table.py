"""`harness table`: the commands that need no device."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.cli.table import table as group
from harness.networks.named import network_named
from harness.tables.calibrate import calibrate
from harness.tables.table import HeldOut, LatencyTable
from tests.tables import given

NETWORKS = [network_named(f"mobilenet_v2:resolution={size}") for size in (96, 128, 160, 192, 224)]
HELD_OUT = HeldOut(100, 0.92, 0.99, 0.021, 0.31, -0.004, 0.97, 0.94, 0.018)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["table", *map(str, arguments)])


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    bare = given.table_of(*NETWORKS)
    return replace(bare, calibration=calibrate(bare, given.measured(bare, NETWORKS, 0.02)), held_out=HELD_OUT)


@pytest.fixture
def path(table: LatencyTable, tmp_path: Path) -> Path:
    return table.save(tmp_path / "pi4.json")


def test_each_subcommand_and_each_of_its_options_is_documented() -> None:
    for name, command in group.commands.items():
        assert command.help, name
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, (name, option.name)


def test_networks_are_predicted_with_their_intervals(table: LatencyTable, path: Path) -> None:
    found = run("predict", path, "mobilenet_v2", "mobilenet_v2:resolution=160", "--json")
    assert found.exit_code == 0
    first, second = json.loads(found.stdout)
    expected = table.predict(NETWORKS[4])
    assert first == {
        "network": "mobilenet_v2",
        "latency_ms": pytest.approx(expected.latency_ms),
        "interval_ms": pytest.approx(expected.interval_ms),
    }
    assert second["latency_ms"] < first["latency_ms"]
    text = run("predict", path, "mobilenet_v2").stdout
    assert "mobilenet_v2" in text
    assert "predicted for pi4, ai-edge-litert, float32, 1 thread" in text
    assert "of 100 networks held out 92% were within 5%, 99% within 10%" in text


def test_without_a_calibration_no_interval_is_claimed(table: LatencyTable, tmp_path: Path) -> None:
    bare = replace(table, calibration=None, held_out=None).save(tmp_path / "bare.json")
    text = run("predict", bare, "mobilenet_v2").stdout
    assert "no interval" in text
    assert "not calibrated" in text
    assert json.loads(run("predict", bare, "mobilenet_v2", "--json").stdout)[0]["interval_ms"] is None


def test_a_missing_block_is_one_error_that_says_what_measures_it(path: Path) -> None:
    found = run("predict", path, "mobilenet_v2", "mobilenet_v1")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("error: the latency table of pi4 lacks ")
    assert "--complete" in found.stderr


@pytest.mark.parametrize(
    "command", [("predict", "{}", "mobilenet_v2"), ("show", "{}"), ("diff", "{}", "{}"), ("export", "{}", "--csv", "t.csv")]
)
def test_a_file_that_is_no_table_is_one_error(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"format": "latency-harness table", "version": 9}')
    found = run(*(part.format(path) for part in command))
    assert (found.exit_code, found.stdout) == (1, "")
    assert "newer than" in found.stderr


def test_a_table_is_shown_with_its_forms_and_its_error(path: Path) -> None:
    text = run("show", path).stdout
    for words in (
        "pi4, Cortex-A72",
        "ai-edge-litert 2.3.0",
        "2026-11-22 18:30 to 18:50 UTC",
        "mbconv",
        "cold_penalty",
        "sum of warm",
        "0.970",
        "-0.4%",
    ):
        assert words in text


def test_a_table_is_printed_for_programs_as_its_file_has_it(path: Path) -> None:
    assert json.loads(run("show", path, "--json").stdout) == json.loads(path.read_text())


def test_a_table_is_drawn(path: Path, tmp_path: Path) -> None:
    found = run("show", path, "--plot", tmp_path / "table.svg")
    assert found.exit_code == 0
    drawn = (tmp_path / "table.svg").read_text()
    for words in ("<!-- mbconv -->", "<!-- 112x112 -->", "<!-- where 5 networks spend their time, on average -->"):
        assert words in drawn


def test_a_picture_that_cannot_be_written_is_known_before_the_table_is_shown(path: Path, tmp_path: Path) -> None:
    found = run("show", path, "--plot", tmp_path / "table.gif")
    assert (found.exit_code, found.stdout) == (1, "")


def test_two_tables_are_compared_block_by_block(table: LatencyTable, path: Path, tmp_path: Path) -> None:
    rows = [replace(row, warm_ms=1.2 * row.warm_ms, interval_ms=None) for row in table.rows[1:]]
    rows[3] = replace(rows[3], warm_ms=2 * rows[3].warm_ms)
    other = LatencyTable(replace(table.origin, device="pi5", fingerprint="ef"), tuple(rows)).save(tmp_path / "pi5.json")
    found = json.loads(run("diff", path, other, "--json").stdout)
    assert (found["a"], found["b"], found["apart_share"]) == ("pi4", "pi5", None)
    assert found["median_ratio"] == pytest.approx(1.2)
    assert found["pairs"][0]["key"] == rows[3].key
    assert found["pairs"][0]["ratio"] == pytest.approx(2.4)
    assert found["only_a"] == [table.rows[0].key]
    assert found["only_b"] == []
    text = run("diff", path, other).stdout
    assert f"{len(rows)} blocks in both: B / A 1.200" in text
    assert "of A and B differ: fingerprint" in text


def test_intervals_that_leave_a_gap_are_counted(table: LatencyTable, path: Path, tmp_path: Path) -> None:
    moved = [replace(row, interval_ms=(2 * row.warm_ms, 3 * row.warm_ms)) for row in table.rows[:10]]
    other = LatencyTable(table.origin, (*moved, *table.rows[10:])).save(tmp_path / "later.json")
    assert json.loads(run("diff", path, other, "--json").stdout)["apart_share"] == pytest.approx(10 / len(table.rows))


@pytest.mark.parametrize(("changes", "says"), [({"threads": 2}, "threads 1 and 2"), ({"precision": "int8"}, "precision float32 and int8")])
def test_tables_of_other_threads_or_precisions_are_not_compared(
    table: LatencyTable, path: Path, tmp_path: Path, changes: dict[str, int | str], says: str
) -> None:
    origin = replace(table.origin, **changes)  # type: ignore[arg-type]  # names of fields with their types
    other = replace(table, origin=origin).save(tmp_path / "other.json")
    found = run("diff", path, other)
    assert found.exit_code == 1
    assert says in found.stderr


def test_rows_are_exported(table: LatencyTable, path: Path, tmp_path: Path) -> None:
    for suffix, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        target = tmp_path / f"rows{suffix}"
        assert run("export", path, f"--{suffix[1:]}", target).exit_code == 0
        assert list(read(target)["key"]) == [row.key for row in table.rows]
    found = json.loads(run("export", path, "--ofa", tmp_path / "rows.yaml", "--json").stdout)
    assert len(yaml.safe_load((tmp_path / "rows.yaml").read_text())) == found["rows"] == len(table.rows) - len(found["left_out"])
    assert "dense-u1000-softmax@1280" in found["left_out"]


@pytest.mark.parametrize("asked", [(), ("--csv", "a.csv", "--ofa", "b.yaml"), ("--csv", "a.parquet")])
def test_an_export_has_one_form(path: Path, asked: tuple[str, ...]) -> None:
    assert run("export", path, *asked).exit_code == 2


def test_what_another_tool_measured_is_imported(tmp_path: Path) -> None:
    source = tmp_path / "note10.yaml"
    source.write_text("Conv-input:8x8x3-output:4x4x16: {count: 5, mean: 1.0, std: 0.1}\nShuffle: {count: 5, mean: 1.0, std: 0.1}\n")
    found = run("import", source, tmp_path / "note10.json", "--device", "note10", "--json")
    assert json.loads(found.stdout) == {"file": str(tmp_path / "note10.json"), "rows": 2, "foreign": 1}
    assert LatencyTable.load(tmp_path / "note10.json").origin.device == "note10"
    kernels = tmp_path / "kernels.json"
    kernels.write_text('{"fc": {"a": {"config": {"CIN": 8, "COUT": 4}, "latency": "1 +- 0.1"}}}')
    assert run("import", kernels, tmp_path / "kernels_table.json").exit_code == 0
    assert LatencyTable.load(tmp_path / "kernels_table.json").rows[0].key == "dense-u4@8"


def test_a_file_of_unknown_kind_is_wrong_usage(tmp_path: Path) -> None:
    found = run("import", tmp_path / "table.pickle", tmp_path / "t.json")
    assert found.exit_code == 2
    assert "--ofa or --nn-meter" in found.stderr
