"""What `harness bench` prints of given outcomes, and what it shows meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from harness.cli import bench, progress
from harness.measure import result
from tests.report import given

LEAST_KEYS = {
    "model",
    "sha256",
    "device",
    "runtime",
    "precision",
    "core",
    "threads",
    "latency_ms",
    "latency_corrected_ms",
    "interval_ms",
    "p90_ms",
    "min_ms",
    "init_ms",
    "first_ms",
    "peak_memory_bytes",
    "model_size_bytes",
    "delegated_nodes",
    "runs",
    "processes",
    "disturbed_share",
    "verdict",
    "from_store",
    "measured_at",
}
FAILURE = result.FailedResult("broken.tflite", "local", "broken.tflite: the file is empty\nGive a model that is whole.")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that prints given outcomes as `harness bench` does."""
    monkeypatch.setattr("harness.measure.frames.samples", lambda _id, **_places: given.samples(processes=2))

    def run(outcomes: list[result.Result | result.FailedResult], **options: object) -> Result:
        @click.command()
        def command() -> None:
            settings = {"as_json": False, "with_samples": False, "plot": None, "inventory": None, "results_folder": None, **options}
            bench.report(outcomes, **settings)  # type: ignore[arg-type]

        return CliRunner().invoke(command)

    return run


def test_json_is_a_list_in_the_order_given_with_at_least_the_promised_keys(printed: Callable[..., Result]) -> None:
    outcome = printed([given.result(model="b"), given.result(model="a", interval_ms=None)], as_json=True)
    assert outcome.exit_code == 0
    rows = json.loads(outcome.stdout)
    assert [row["model"] for row in rows] == ["b", "a"]
    assert set(rows[0]) >= LEAST_KEYS
    assert [row["interval_ms"] for row in rows] == [[3.38, 3.444], None]
    assert "samples" not in rows[0]


def test_a_failed_model_is_an_object_between_the_others_and_exits_1(printed: Callable[..., Result]) -> None:
    outcome = printed([given.result(model="a"), FAILURE, given.result(model="b")], as_json=True)
    assert outcome.exit_code == 1
    rows = json.loads(outcome.stdout)
    assert [row["model"] for row in rows] == ["a", "broken.tflite", "b"]
    assert set(rows[1]) == {"model", "device", "error", "stderr_tail"}
    assert outcome.stderr.count("error: ") == 1


def test_samples_are_added_per_repetition(printed: Callable[..., Result]) -> None:
    rows = json.loads(printed([given.result(), FAILURE], as_json=True, with_samples=True).stdout)
    assert [repetition["repetition"] for repetition in rows[0]["samples"]] == [0, 1]
    assert len(rows[0]["samples"][0]["wall_ns"]) == len(rows[0]["samples"][0]["disturbed"]) > 100
    assert "samples" not in rows[1]


def test_the_table_is_on_stdout_and_failures_below_it_on_stderr(printed: Callable[..., Result]) -> None:
    outcome = printed([FAILURE, given.result()])
    assert outcome.exit_code == 1
    for words in ("3.412 ms ±0.94%", "2400 x 5", "reference kernels ran part of the model", "random weights"):
        assert words in outcome.stdout
    assert outcome.stderr == "error: broken.tflite: the file is empty\n  Give a model that is whole.\n"


def test_the_last_words_of_a_failed_models_worker_are_printed(printed: Callable[..., Result]) -> None:
    outcome = printed([result.FailedResult("a.tflite", "local", "local: the worker died of SIGSEGV", "one\ntwo")])
    assert outcome.stderr == "error: a.tflite: local: the worker died of SIGSEGV\n  | one\n  | two\n"


def test_where_all_failed_there_is_no_table(printed: Callable[..., Result]) -> None:
    outcome = printed([FAILURE])
    assert (outcome.exit_code, outcome.stdout) == (1, "")


def test_a_plot_is_drawn_of_what_succeeded(printed: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    outcome = printed([FAILURE, given.result()], plot=path)
    assert path.stat().st_size > 10_000
    assert str(path) in outcome.stderr


def test_stored_rows_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from harness.cli.main import cli
    from harness.measure import frames

    asked: list[dict[str, object]] = []

    def results(**options: object) -> pd.DataFrame:
        asked.append(options)
        return given.stored()

    monkeypatch.setattr(frames, "results", results)
    table = CliRunner().invoke(cli, ["results", "--device", "local", "--results", str(tmp_path)])
    assert table.exit_code == 0
    assert "broken.tflite" in table.stdout
    assert asked[0]["device"] == "local"
    assert asked[0]["results"] == tmp_path
    rows = json.loads(CliRunner().invoke(cli, ["results", "--json"]).stdout)
    assert [row["error"] for row in rows] == [None, "it is empty\nmore"]
    for name, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        file = tmp_path / f"rows.{name}"
        assert CliRunner().invoke(cli, ["results", f"--{name}", str(file)]).exit_code == 0
        assert read(file)["model"].tolist() == ["mobilenet_v2", "broken.tflite"]


def now(phase: str, repetitions: int, spent_s: float, model: str = "a.tflite") -> result.Progress:
    half_width = 0.031 if repetitions > 2 else None
    return result.Progress("local", model, phase, repetitions, half_width, spent_s, 60.0)  # type: ignore[arg-type]


def test_progress_in_a_pipe_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown() as tell:
        tell(now("converting", 0, 0))
        for repetition in range(50):
            tell(now("waiting", repetition, repetition))
            tell(now("measuring", repetition, repetition))
        tell(now("done", 50, 50.2))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "a.tflite: converting",
        "a.tflite: measuring",
        "a.tflite: measuring, 30 repetitions, ±3.1%, 30 of 60 s",
        "a.tflite: done, 50 repetitions, ±3.1%, 50 of 60 s",
    ]


def test_progress_on_a_terminal_is_a_line_per_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with contextlib.suppress(KeyboardInterrupt), progress.shown() as tell:
        tell(now("measuring", 3, 12.0, "[a].tflite"))
        tell(now("done", 4, 13.0, "b.tflite"))
        raise KeyboardInterrupt
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[a].tflite" in captured.err
    assert "3 repetitions, ±3.1%, 12 of 60 s" in captured.err
    assert "b.tflite" in captured.err


def test_a_call_without_a_time_limit_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown() as tell:
        tell(result.Progress("local", "a.tflite", "measuring", 5, None, 0.0, 0.0))
    assert capsys.readouterr().err == "a.tflite: measuring, 5 repetitions\n"


def far(device: str, phase: str, done: int, model: str = "a.tflite", note: str = "") -> result.Progress:
    return result.Progress(device, model, phase, 3, 0.031, 12.0, 60.0, done=done, total=40, note=note)  # type: ignore[arg-type]


def test_progress_of_many_devices_in_a_pipe_is_what_became_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown(by_device=True) as tell:
        tell(far("pi4", "waiting", 0, model="", note="making its environment"))
        for done in range(2):
            tell(far("pixel8", "measuring", done))
            tell(far("pi4", "waiting", done))
            tell(far("pi4", "waiting", done))
            tell(far("pixel8", "done", done + 1))
            tell(far("pi4", "measuring", done))
        tell(far("pi4", "aside", 2))
    assert capsys.readouterr().err.splitlines() == [
        "pi4: making its environment",
        "pi4: waiting",
        "pixel8: a.tflite: done, 1 of 40",
        "pi4: waiting",
        "pixel8: a.tflite: done, 2 of 40",
        "pi4: aside",
    ]


def test_progress_of_a_long_build_in_a_pipe_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter((0.0, 20.0, 40.0, 60.0))
    monkeypatch.setattr("harness.cli.progress.time.monotonic", lambda: next(clock))
    with progress.shown(by_device=True) as tell:
        for done in (1, 2, 3, 4):
            tell(far("pi4", "measuring", done))
    assert capsys.readouterr().err.splitlines() == ["pi4: measuring, 3 of 40"]


def test_progress_of_many_on_a_terminal_is_a_line_per_device(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.shown(by_device=True) as tell:
        tell(far("pi4", "waiting", 0, model="", note="making its [environment]"))
        tell(far("pi4", "measuring", 7, "[b].tflite"))
    shown = capsys.readouterr().err
    assert "making its [environment]" in shown
    assert "7/40" in shown
    assert "[b].tflite 3 repetitions, ±3.1%, 12 of 60 s" in shown
