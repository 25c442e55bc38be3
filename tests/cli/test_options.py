from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.cli import options
from harness.cli.main import cli


@click.command()
@click.option("--interval", callback=options.share, default="2%")
@click.option("--since", callback=options.moment)
@options.run_settings
@options.places
def echo(**given: object) -> None:
    click.echo(json.dumps(given, default=str))


def given(*args: str) -> dict[str, object]:
    outcome = CliRunner().invoke(echo, args)
    assert outcome.exit_code == 0, outcome.output
    values: dict[str, object] = json.loads(outcome.output)
    return values


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.02", 0.02), ("0.5 %", 0.005)])
def test_a_share_is_written_in_percent_or_plain(text: str, value: float) -> None:
    assert given("--interval", text)["interval"] == pytest.approx(value)


def test_shapes_are_a_mapping_and_names_may_hold_an_equals_sign() -> None:
    assert given("--shape", "input=1,224,224,3", "--shape", "a=b:0=5")["shapes"] == {"input": [1, 224, 224, 3], "a=b:0": [5]}


def test_a_date_without_offset_is_local_time() -> None:
    assert str(given("--since", "2026-11-22T18:30:00+02:00")["since"]) != "None"
    assert "2026-11-22 00:00:00" in str(given("--since", "2026-11-22")["since"])


WRONG = [
    (["bench"], "Missing argument 'MODEL...'"),
    (["bench", "x.keras", "--precision", "int4"], "'int4' is not one of"),
    (["bench", "x.tflite", "--precision", "int8"], "its precision is read from its tensors"),
    (["bench", "x.keras", "y.TFLITE", "--precision", "int8"], "y.TFLITE is a .tflite"),
    (["bench", "x.keras", "--interval", "2"], "write 2% or 0.02"),
    (["bench", "x.keras", "--interval", "0%"], "not between 0 and 100%"),
    (["bench", "x.keras", "--interval", "nan"], "not between 0 and 100%"),
    (["bench", "x.keras", "--interval", "wide"], "not a share"),
    (["bench", "x.keras", "--max-time", "0"], "0"),
    (["bench", "x.keras", "--threads", "0"], "0"),
    (["bench", "x.keras", "--shape", "1,224,224,3"], "input=1,224,224,3"),
    (["bench", "x.keras", "--shape", "input=1,-1"], "is not a shape"),
    (["bench", "x.keras", "--shape", f"input={'9' * 5000}"], "is not a shape"),
    (["bench", "x.keras", "--max-time", "1e7"], "is not in the range"),
    (["bench", "x.keras", "--shape", "input=1", "--shape", "input=2"], "input is given twice"),
    (["bench", "x.keras", "--samples"], "--samples goes with --json"),
    (["compare", "x.tflite"], "Give a second model B, or --device twice"),
    (["compare", "x.tflite", "--device", "local"], "--device twice"),
    (["compare", "x.tflite", "y.tflite", "--device", "a", "--device", "b"], "leave out B"),
    (["compare", "x.tflite", "y.tflite", "--precision", "int8"], "x.tflite is a .tflite"),
    (["aa", "x.tflite", "--precision", "int8"], "x.tflite is a .tflite"),
    (["aa", "x.keras", "--pairs", "1"], "1"),
    (["results", "--csv", "a.csv", "--json"], "exclude each other"),
    (["results", "--csv", "a.parquet"], "--csv writes a .csv file"),
    (["results", "--since", "yesterday"], "not a date"),
]


@pytest.mark.parametrize(("args", "words"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_usage_exits_2_and_says_what_is_right(args: list[str], words: str) -> None:
    outcome = CliRunner().invoke(cli, args)
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stdout == ""
    assert words in " ".join(outcome.stderr.split())


@pytest.mark.parametrize("name", ["plot.jpeg", "plot", "no/folder/plot.png"])
def test_a_plot_that_cannot_be_written_is_refused_before_measuring(tmp_path: Path, name: str) -> None:
    outcome = CliRunner().invoke(cli, ["bench", "x.tflite", "--plot", str(tmp_path / name)])
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("error: ")
    assert "plot" in outcome.stderr
