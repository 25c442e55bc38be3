"""Studies as the command line runs them: with recorded qualities on made-up tables, and from data to a measured model on a real board."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.measure.benchmark import bench
from harness.search import finish, live
from harness.search.recorded import Recorded
from harness.search.train import adapted
from harness.tables import build as building
from harness.tables import wholes
from harness.tables.least import least
from harness.tables.table import LatencyTable
from harness.training.data import data_of
from tests.devices.netns import allowed
from tests.devices.sshd import Sshd, inventory
from tests.search.spaces import every, small
from tests.search.test_train import arrays
from tests.tables import given

on_a_board = pytest.mark.skipif(not allowed(), reason="a board with a /tmp of its own takes root: these tests run where root runs them")
DEVICE = '[devices.pi4]\ntransport = "ssh"\nhost = "pi4.invalid"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a space, a table of it, the quality of each candidate, and an inventory."""
    space = small("stages", tmp_path)
    given.of_space(space).save(tmp_path / "pi4.json")
    with (tmp_path / "known.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("candidate", "quality"))
        writer.writerows((space.encode(tokens), 0.5 + sum(tokens) / 20) for tokens in every(space))
    (tmp_path / "devices.toml").write_text(f'default = "pi4"\n{DEVICE}')
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    asked = ("search", "--space", str(folder / "stages.toml"), "--inventory", str(folder / "devices.toml"), *arguments)
    return CliRunner().invoke(cli, asked)


def known(folder: Path, *arguments: str, target_ms: float = 0.1, devices: tuple[str, ...] = ("pi4",)) -> Result:
    each = [part for name in devices for part in ("--device", name, "--table", str(folder / f"{name}.json"))]
    asked = ("--recorded", str(folder / "known.csv"), "--target-ms", str(target_ms), "--trials", "32")
    return run(folder, *each, *asked, *arguments)


@pytest.mark.parametrize("strategy", ["mnasnet", "reinforce", "evolution", "random", "tpe", "nsga2"])
def test_a_search_tells_its_front_and_its_best(folder: Path, strategy: str) -> None:
    found = known(folder, "--strategy", strategy, "--output", str(folder / "out"), "--json")
    assert (found.exit_code, found.exception) == (0, None)
    told = json.loads(found.stdout)
    trials = [json.loads(line) for line in (folder / "out" / "trials.jsonl").read_text().splitlines()[1:]]
    assert len(trials) == 32
    assert told["best"]["reward"] == max(trial["reward"] for trial in trials)
    with (folder / "out" / "front.csv").open() as file:
        front = list(csv.DictReader(file))
    assert [line["candidate"] for line in front] == [
        f"space:stages/{small('stages', folder).encode(trial['tokens'])}" for trial in told["fronts"]["pi4"]
    ]
    assert {line["device"] for line in front} == {"pi4"}
    assert (folder / "out" / "search.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("strategy", ["mnasnet", "reinforce", "tpe", "nsga2"])
def test_the_same_command_goes_on_and_another_is_refused(folder: Path, strategy: str) -> None:
    asked = ("--strategy", strategy, "--batch", "8")
    assert known(folder, *asked).exit_code == 0
    log = folder / "results" / "searches" / f"stages-{strategy}-pi4-0.1ms-seed0" / "trials.jsonl"
    text = log.read_bytes()
    log.write_bytes(text[: 2 * len(text) // 3])
    assert known(folder, *asked).exit_code == 0
    assert log.read_bytes() == text
    other = known(folder, *asked, "--reward", "hard")
    assert (other.exit_code, other.stdout) == (1, "")
    assert "has other settings: reward" in other.stderr


def test_a_target_for_each_device(folder: Path) -> None:
    space = small("stages", folder)
    table = given.of_space(space)
    replace(table, origin=replace(table.origin, device="pi5")).save(folder / "pi5.json")
    (folder / "devices.toml").write_text(f'default = "pi4"\n{DEVICE}{DEVICE.replace("pi4", "pi5")}')
    both = ("pi4", "pi5")
    found = known(folder, "--target-ms", "0.2", "--strategy", "random", "--json", devices=both)
    assert (found.exit_code, found.exception) == (0, None)
    told = json.loads(found.stdout)
    assert set(told["best"]["used"]) == {"latency_ms of pi4", "latency_ms of pi5"}
    assert set(told["fronts"]) == {"pi4", "pi5"}
    text = known(folder, "--target-ms", "0.2", "--strategy", "random", devices=both).stdout
    assert "Pareto front on pi4" in text
    assert "target 0.2 ms" in text


def test_a_target_out_of_reach_is_told_with_what_can_be_reached(folder: Path) -> None:
    reached = least(LatencyTable.load(folder / "pi4.json"), small("stages", folder))
    assert reached is not None
    found = known(folder, target_ms=0.9 * reached[1])
    assert (found.exit_code, found.stdout) == (1, "")
    assert f"no candidate of stages is predicted less than {reached[1]:.4g} ms" in found.stderr
    assert known(folder, "--strategy", "random", target_ms=1.1 * reached[1]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--target-ms", "1", "--recorded", "{}/known.csv"), "there is no latency table"),
        (("--target-ms", "1", "--recorded", "{}/known.csv", "--table", "{}/other.json"), "was built on pi5"),
        (("--target-ms", "1", "--recorded", "{}/known.csv", "--table", "{}/few.json"), "lacks 2 of the"),
        (("--target-ms", "1", "--recorded", "{}/devices.toml", "--table", "{}/pi4.json"), "has no column candidate"),
        (("--target-ms", "1", "--recorded", "{}/none.csv", "--table", "{}/pi4.json"), "cannot read"),
        (("--target-ms", "1", "--data", "{}/none.npz", "--table", "{}/pi4.json"), "cannot read"),
        (("--target-ms", "1", "--data", "cifar11", "--table", "{}/pi4.json"), "is no data set"),
        (("--target-ms", "1", "--recorded", "{}/bad.csv", "--table", "{}/pi4.json"), "bad.csv:2: a quality of 'good'"),
        (("--target-ms", "1", "--recorded", "{}/twice.csv", "--table", "{}/pi4.json"), "twice.csv:3: "),
        (("--target-ms", "1", "--recorded", "{}/odd.csv", "--table", "{}/pi4.json"), "odd.csv:2: 'zz' is no candidate of stages"),
        (("--target-ms", "1", "--recorded", "{}/known.csv", "--table", "{}/pi4.json", "--precision", "int8"), "is of float32 models"),
        (("--target-ms", "1", "--recorded", "{}/known.csv", "--table", "{}/pi4.json", "--strategy", "evolve"), "did you mean 'evolution'"),
        (("--target-ms", "1", "--recorded", "{}/known.csv", "--table", "{}/pi4.json", "--reward", "sofd"), "did you mean 'soft'"),
        (("--target-ms", "1", "--recorded", "{}/few.csv", "--table", "{}/pi4.json", "--strategy", "random"), "does not hold"),
    ],
)
def test_bad_input_is_one_error(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    table = LatencyTable.load(folder / "pi4.json")
    replace(table, origin=replace(table.origin, device="pi5")).save(folder / "other.json")
    LatencyTable(table.origin, table.rows[2:]).save(folder / "few.json")
    candidate = (folder / "known.csv").read_text().split()[1].split(",")[0]
    (folder / "bad.csv").write_text(f"candidate,quality\n{candidate},good\n")
    (folder / "twice.csv").write_text(f"candidate,quality\n{candidate},0.5\n{candidate},0.6\n")
    (folder / "odd.csv").write_text("candidate,quality\nzz,0.5\n")
    (folder / "few.csv").write_text("candidate,quality\n")
    found = run(folder, *(part.format(folder) for part in arguments))
    assert (found.exit_code, found.stdout) == (1, "")
    assert said in found.stderr
    assert found.stderr.count("error:") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--target-ms", "1"),
        ("--target-ms", "1", "--recorded", "a", "--data", "b"),
        ("--target-ms", "1", "--data", "b", "--live", "most"),
        ("--target-ms", "1", "--data", "b", "--no-table", "--live", "all"),
        ("--target-ms", "1", "--data", "b", "--learning-rate", "nan"),
        ("--target-ms", "inf", "--data", "b"),
        ("--target-ms", "1", "--data", "b", "--seed", "5000000000"),
    ],
)
def test_wrong_usage_is_told_as_such(folder: Path, arguments: tuple[str, ...]) -> None:
    assert run(folder, *arguments).exit_code == 2


def test_qualities_may_be_those_of_a_front(folder: Path) -> None:
    space = small("stages", folder)
    text = "device,candidate,quality\npi4,space:stages/000-000,0.5\n"
    (folder / "front.csv").write_text(text, encoding="utf-8-sig")  # as spreadsheets write it
    assert Recorded.read(folder / "front.csv", space)((0, 0, 0, 0, 0, 0)) == 0.5


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    started = Sshd(folder / "board", own_tmp=True)
    (tmp_path / "devices.toml").write_text(inventory(replace(started.device, runtime="ai-edge-litert", python=sys.executable)))
    yield tmp_path
    started.stop()
    shutil.rmtree(folder)


@on_a_board
def test_without_a_table_every_candidate_is_measured(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "NETWORK_PASSES", 1)
    space = small("skips", board)
    with (board / "known.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("candidate", "quality"))
        writer.writerows((space.encode(tokens), 0.5) for tokens in every(space))
    asked = (
        "search",
        "--space",
        str(board / "skips.toml"),
        "--inventory",
        str(board / "devices.toml"),
        "--recorded",
        str(board / "known.csv"),
    )
    how = ("--no-table", "--target-ms", "1", "--strategy", "reinforce", "--trials", "4", "--batch", "4", "--output", str(board / "out"))
    found = CliRunner().invoke(cli, [*asked, *how])
    assert (found.exit_code, found.exception) == (0, None)
    trials = [json.loads(line) for line in (board / "out" / "trials.jsonl").read_text().splitlines()[1:]]
    assert len(trials) == 4
    assert all(0 < trial["used"]["latency_ms"] < 10 and not trial["predicted"] for trial in trials)
    with (board / "out" / "front.csv").open() as file:
        front = list(csv.DictReader(file))
    assert front
    assert all(line["measured_ms"] == line["latency_ms"] and line["predicted_ms"] == "" for line in front)
    with (board / "devices.toml").open("a") as file:
        file.write(DEVICE)
    other = CliRunner().invoke(cli, [*asked, *how, "--device", "pi4"])
    assert (other.exit_code, other.stdout) == (1, "")
    assert "has other settings: measured on" in other.stderr


@pytest.mark.long
@on_a_board
def test_from_data_to_a_model_that_was_measured(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (building, "WARM_PASSES"),
        (building, "COLD_PASSES"),
        (building, "NETWORK_PASSES"),
        (live, "NETWORK_PASSES"),
        (wholes, "NETWORK_PASSES"),
    ):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr(finish, "bench", partial(bench, max_time_s=1.0))
    small("stages", board)
    np.savez(board / "stripes.npz", **arrays())
    listed = ("--inventory", str(board / "devices.toml"))
    built = CliRunner().invoke(cli, ["table", "build", str(board / "stages.toml"), *listed, "--calibration", "3", "--held-out", "0"])
    assert (built.exit_code, built.exception) == (0, None)
    asked = (
        "--data",
        str(board / "stripes.npz"),
        "--target-ms",
        "1",
        "--trials",
        "2",
        "--batch",
        "1",
        "--live",
        "all",
        "--strategy",
        "random",
    )
    short = ("--epochs", "1", "--final-epochs", "1", "--learning-rate", "0.05")
    lacking = run(board, *asked, *short)
    assert (lacking.exit_code, lacking.stdout) == (1, "")
    assert "lacks 1 of the" in lacking.stderr  # the data have three classes
    found = run(board, *asked, *short, "--complete", "--json")
    assert (found.exit_code, found.exception) == (0, None)
    told = json.loads(found.stdout)
    trials = [json.loads(line) for line in (Path(told["folder"]) / "trials.jsonl").read_text().splitlines()[1:]]
    measured = [trial for trial in trials if trial["predicted"]]
    assert len(measured) == 2
    assert [trial["number"] for trial in measured] == [0, 1]
    (device,) = told["final"]["devices"]
    assert 0 < device["measured_ms"] < 10
    table = LatencyTable.load(board / "results" / "tables" / "stages-board-float32.json")
    network = adapted(small("stages", board), data_of("stripes", arrays())).network(tuple(told["best"]["tokens"]))
    assert device["predicted_ms"] == table.predict(network).latency_ms
    assert device["verdict"]
    assert 0 <= told["final"]["test_accuracy"] <= 1
    assert told["final"]["file_accuracy"] == pytest.approx(told["final"]["test_accuracy"], abs=0.02)
    assert {"best.keras", "best.tflite", "best.json", "front.csv", "search.png"} <= {file.name for file in Path(told["folder"]).iterdir()}
    again = run(board, *asked, *short, "--complete", "--json")
    assert json.loads(again.stdout) == told
