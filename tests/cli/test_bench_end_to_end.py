"""`harness` as a user runs it: real processes, the real agent, the machine itself as the device."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli import tiny_models

ROOT = Path(__file__).parents[2]
VERDICTS = {"steady", "interval_not_reached", "disturbed", "drifted", "throttled", "unsteady"}


@dataclass(frozen=True)
class Rig:
    """A folder with an inventory and models, and the command run in it."""

    folder: Path

    def start(self, *args: str) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'agent'}"}
        command = [str(Path(sys.executable).parent / "harness"), *args]
        return subprocess.Popen(command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *args: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        with self.start(*args) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            finally:
                process.kill()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    made = Rig(tmp_path_factory.mktemp("rig"))
    made.write("devices.toml", b'default = "local"\n[devices.local]\ntransport = "local"\n')
    whole = tiny_models.add()
    made.write("add.tflite", whole)
    made.write("empty.tflite", b"")
    made.write("truncated.tflite", whole[: len(whole) // 2])
    made.write("random.tflite", bytes(range(7, 251)) * 9)
    made.write("custom_op.tflite", tiny_models.unresolved_custom_op())
    made.write("dynamic.tflite", tiny_models.dynamic())
    made.write("crashing.tflite", tiny_models.crashing())
    tiny_models.custom_layer_keras(made.folder / "custom_layer.keras")
    return made


@pytest.fixture(scope="module")
def benched(rig: Rig) -> subprocess.CompletedProcess[str]:
    """A good model, benchmarked once."""
    return rig.run("bench", "add.tflite", "--json", "--samples", "--max-time", "5", "--plot", "plot.png")


def test_a_benchmark_prints_what_was_measured_as_json(benched: subprocess.CompletedProcess[str]) -> None:
    assert benched.returncode == 0, benched.stderr
    (row,) = json.loads(benched.stdout)
    assert row["model"] == "add.tflite"
    assert 0 < row["min_ms"] <= row["latency_ms"] <= row["p90_ms"] < 1
    assert row["interval_ms"] is None or row["interval_ms"][0] <= row["latency_ms"] <= row["interval_ms"][1]
    assert row["verdict"] in VERDICTS
    assert row["precision"] == "float32"
    assert row["model_size_bytes"] == len(tiny_models.add())
    assert row["from_store"] is False
    assert 0 <= row["disturbed_share"] <= 1
    assert datetime.fromisoformat(row["measured_at"]).tzinfo is not None


def test_samples_are_raw_and_told_apart(benched: subprocess.CompletedProcess[str]) -> None:
    (row,) = json.loads(benched.stdout)
    assert len(row["samples"]) >= row["processes"]
    for repetition in row["samples"]:
        assert {"candidate", "reference"} == set(repetition["role"])
        assert len({len(repetition[column]) for column in repetition if column != "repetition"}) == 1
        assert min(repetition["wall_ns"]) > 0


def test_the_plot_is_there(rig: Rig, benched: subprocess.CompletedProcess[str]) -> None:
    assert benched.returncode == 0
    assert (rig.folder / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_results_lie_beside_the_inventory_and_are_listed(rig: Rig, benched: subprocess.CompletedProcess[str]) -> None:
    (row,) = json.loads(benched.stdout)
    assert (rig.folder / "results").is_dir()
    (stored, *_) = [one for one in json.loads(rig.run("results", "--json").stdout) if one["model"] == "add.tflite"]
    assert stored["latency_ms"] == pytest.approx(row["latency_ms"], rel=1e-9)
    assert stored["sha256"] == row["sha256"]
    assert rig.run("results", "--csv", "rows.csv").returncode == 0
    assert "add.tflite" in (rig.folder / "rows.csv").read_text()
    assert "add.tflite" in rig.run("results").stdout


def test_the_table_has_all_that_was_measured(rig: Rig, benched: subprocess.CompletedProcess[str]) -> None:
    assert benched.returncode == 0
    done = rig.run("bench", "add.tflite", "--max-time", "5")
    assert done.returncode == 0
    for word in (
        "latency",
        "p90",
        "minimum",
        "init",
        "first run",
        "peak memory",
        "model size",
        "runs x",
        "disturbed",
        "delegated",
        "verdict",
    ):
        assert word in done.stdout


def test_a_cap_that_fires_is_a_result(rig: Rig) -> None:
    done = rig.run("bench", "add.tflite", "--json", "--fresh", "--max-time", "1", "--interval", "0.001%")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["verdict"] != "steady"


BAD_MODELS = {
    "missing.tflite": ("missing.tflite",),
    "empty.tflite": ("empty.tflite", "empty"),
    "truncated.tflite": ("truncated.tflite",),
    "random.tflite": ("random.tflite",),
    "custom_op.tflite": ("custom_op.tflite", "NoSuchOp"),
    "dynamic.tflite": ("input", "--shape"),
    "crashing.tflite": ("crashing.tflite",),
}


@pytest.fixture(scope="module")
def failures(rig: Rig) -> subprocess.CompletedProcess[str]:
    """All models that fail, and a good one among them."""
    first, *rest = BAD_MODELS
    return rig.run("bench", first, "add.tflite", *rest, "--json", "--fresh", "--max-time", "2")


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_bad_model_has_one_clear_error(failures: subprocess.CompletedProcess[str], name: str) -> None:
    assert failures.returncode == 1
    row = next(row for row in json.loads(failures.stdout) if row["model"] == name)
    assert set(row) == {"model", "device", "error", "stderr_tail"}
    for words in BAD_MODELS[name]:
        assert words in f"{name}: {row['error']}"
    assert len([line for line in failures.stderr.splitlines() if line.startswith("error:") and name in line]) == 1


def test_bad_models_do_not_stop_a_good_one(failures: subprocess.CompletedProcess[str]) -> None:
    rows = json.loads(failures.stdout)
    assert [row["model"] for row in rows] == [next(iter(BAD_MODELS)), "add.tflite", *list(BAD_MODELS)[1:]]
    assert rows[1]["latency_ms"] > 0


def test_a_crash_is_stored(rig: Rig, failures: subprocess.CompletedProcess[str]) -> None:
    assert failures.returncode == 1
    rows: list[dict[str, Any]] = json.loads(rig.run("results", "--json").stdout)
    (crash,) = [row for row in rows if row["model"] == "crashing.tflite"]
    assert crash["error"]
    assert crash["latency_ms"] is None


def test_shape_measures_a_dynamic_model(rig: Rig) -> None:
    done = rig.run("bench", "dynamic.tflite", "--shape", "input=1,32", "--json", "--max-time", "2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["latency_ms"] > 0


def test_a_keras_file_with_a_custom_layer_says_what_to_pass_instead(rig: Rig) -> None:
    done = rig.run("bench", "custom_layer.keras", "--max-time", "2")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Mine" in done.stderr
    assert done.stderr.count("error:") == 1
    assert ".tflite" in done.stderr


def refused(rig: Rig, *args: str) -> str:
    """Run what must fail before anything is measured, and return its one error."""
    done = rig.run("bench", "add.tflite", *args)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    return done.stderr


def test_an_unknown_device_names_the_nearest(rig: Rig) -> None:
    error = refused(rig, "--device", "locla")
    assert "locla" in error
    assert "local" in error.replace("locla", "")


def test_a_typo_in_the_inventory_names_line_and_nearest_key(rig: Rig) -> None:
    path = rig.write("typo.toml", b'[devices.local]\ntransport = "local"\nruntme = "ai-edge-litert"\n')
    error = refused(rig, "--inventory", str(path))
    assert "typo.toml:3" in error
    assert "'runtime'" in error


def test_a_core_that_may_not_be_used_names_those_that_may(rig: Rig) -> None:
    path = rig.write("core.toml", b'[devices.local]\ntransport = "local"\ncore = 4000\n')
    error = refused(rig, "--inventory", str(path), "--results", "elsewhere")
    assert "4000" in error
    assert str(min(os.sched_getaffinity(0))) in error.replace("4000", "")


def test_a_results_folder_that_cannot_be_written_is_named(rig: Rig) -> None:
    rig.write("occupied", b"a file, not a folder")
    assert "occupied" in refused(rig, "--results", "occupied/results")
    assert "/proc/" in refused(rig, "--results", "/proc/results")


def test_an_interrupt_keeps_what_was_measured(rig: Rig) -> None:
    command = ("bench", "add.tflite", "--json", "--fresh", "--interval", "0.0001%", "--max-time", "120", "--results", "interrupted")
    with rig.start(*command) as process:
        try:
            deadline = time.monotonic() + 60
            assert process.stderr is not None
            while "measuring" not in process.stderr.readline():
                assert time.monotonic() < deadline
            time.sleep(8)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert out == ""
    assert "what was measured is stored; the same command goes on from there" in err
    assert "Traceback" not in err
