"""`harness prune` from data to a measured model, on a real board (an SSH server on this machine), and its errors."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.networks.named import network_named
from harness.prune.outcome import Outcome
from harness.tables import build as building
from harness.tables import wholes
from harness.tables.layers import layers_at_widths
from harness.tables.reading import read
from harness.training.saved import save_model
from tests.devices.netns import allowed
from tests.devices.sshd import Sshd, inventory
from tests.prune.images import convolutional, stripes
from tests.tables import given

pytestmark = pytest.mark.usefixtures("keras")
on_a_board = pytest.mark.skipif(not allowed(), reason="a board with a /tmp of its own takes root: these tests run where root runs them")

SMALL = """
name = "small"
input = [12, 12, 1]
blocks = [
  {type = "conv", filters = 16, kernel = 3, stride = 2, activation = "relu"},
  {type = "mbconv", filters = 16, expansion = 2, activation = "relu"},
  {type = "flatten"},
  {type = "dense", units = 10, activation = "softmax"},
]
[training]
norm_momentum = 0.9
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder with an inventory of a board that nobody reaches, data and a model, to work in."""
    folder = tmp_path_factory.mktemp("prune")
    (folder / "devices.toml").write_text('default = "pi4"\n[devices.pi4]\ntransport = "ssh"\nhost = "pi4.invalid"\n')
    (x_train, y_train), (x_test, y_test) = stripes(600, 0), stripes(200, 1)
    np.savez(folder / "stripes.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    (folder / "small.toml").write_text(SMALL)
    (folder / "larger.toml").write_text(SMALL.replace("small", "larger").replace("12, 12", "20, 20"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture
def with_board(place: Path) -> Iterator[Path]:
    """Give the same folder with an inventory of a board that is there."""
    boards = Path(tempfile.mkdtemp(dir="/var/tmp"))
    board = Sshd(boards / "board", own_tmp=True)
    known = (place / "devices.toml").read_text()
    (place / "devices.toml").write_text(inventory(replace(board.device, runtime="ai-edge-litert", python=sys.executable)))
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("WARM_PASSES", 3), ("COLD_PASSES", 1), ("NETWORK_PASSES", 3), ("CALIBRATION", 4), ("HELD_OUT", 0)):
            patch.setattr(building, name, count)
        patch.setattr(wholes, "NETWORK_PASSES", 3)
        yield place
    board.stop()
    (place / "devices.toml").write_text(known)
    shutil.rmtree(boards)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(
        cli, ["prune", *arguments, "--data", "stripes.npz", "--learning-rate", "0.05", "--no-flip", "--pad", "0"], catch_exceptions=False
    )


def report(folder: Path) -> Outcome:
    return read(Outcome, json.loads((folder / "report.json").read_text()), "the report")


@pytest.mark.long
@on_a_board
def test_channels_are_cut_down_to_a_latency_that_is_then_measured(with_board: Path) -> None:
    options = (
        "small.toml",
        "--method",
        "netadapt",
        "--target-share",
        "80%",
        "--step",
        "20%",
        "--batches",
        "5",
        "--final-epochs",
        "2",
        "--dense-epochs",
        "3",
    )
    refused = run(*options)
    assert refused.exit_code == 1
    assert "add --complete to measure the model's layers" in refused.stderr
    found = run(*options, "--complete", "--widths", "0.5,1", "--json")
    assert found.exit_code == 0, found.stderr
    folder = with_board / json.loads(found.stdout)["folder"]
    told = report(folder)
    assert told.after.predicted_ms is not None
    assert told.before.predicted_ms is not None
    assert told.after.predicted_ms <= 0.9 * told.before.predicted_ms
    assert told.after.measured_ms is not None
    assert told.after.measured_ms > 0
    assert told.after.measured_interval_ms is not None
    assert "step 1 done: took " in found.stderr
    assert told.after.parameters < told.before.parameters
    assert {"dense.keras", "dense.tflite", "pruned.keras", "pruned.tflite", "layers.png"} < {one.name for one in folder.iterdir()}
    again = run(*options, "--widths", "0.5,1")
    assert again.exit_code == 0
    assert re.search(r"latency, measured .* ±.* ±.* ±", again.stdout)
    assert report(folder) == told  # nothing is done twice
    changed = run(*options, "--widths", "0.5,1", "--seed", "1")
    assert changed.exit_code == 1
    assert "has other settings" in changed.stderr


def test_a_model_in_the_folder_of_the_outcome_is_an_error(place: Path) -> None:
    (place / "mine").mkdir()
    save_model(convolutional(), place / "mine" / "pruned.keras")
    held = (place / "mine" / "pruned.keras").read_bytes()
    found = run("mine/pruned.keras", "--method", "obd", "--keep", "50%", "--output", "mine")
    assert found.exit_code == 1
    assert "lies in the folder that the outcome goes to" in found.stderr
    assert (place / "mine" / "pruned.keras").read_bytes() == held


def test_a_model_that_tells_nothing_of_these_images_is_told(place: Path) -> None:
    save_model(convolutional(), place / "untrained.keras")
    found = run("untrained.keras", "--method", "netadapt", "--resource", "mult-adds", "--target-share", "0.01%")
    assert "hardly more than by chance: it is fed values from 0 to 1" in found.stderr


def test_a_classifier_ends_in_a_softmax_or_logits(place: Path) -> None:
    import keras

    layers = [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(4, activation="sigmoid")]
    save_model(keras.Sequential(layers, name="likely"), place / "likely.keras")
    found = run("likely.keras", "--method", "magnitude", "--keep", "50%")
    assert found.exit_code == 1
    assert "likely ends in a sigmoid, which tells no probabilities of classes" in found.stderr


def test_a_table_of_a_model_s_layers_is_asked_for_by_its_file(place: Path) -> None:
    save_model(convolutional(), place / "mine.keras")
    asked = ("table", "build", "--network", "mine.keras", "--layers", "--widths", "0.5,1", "--inventory", "devices.toml")
    found = CliRunner().invoke(cli, asked)
    assert found.exit_code == 1
    assert "pi4.invalid" in found.stderr  # the model was read, and the device is not there
    missing = CliRunner().invoke(cli, ("table", "build", "--network", "none.keras", "--inventory", "devices.toml"))
    assert "no such file or folder" in missing.stderr


def test_layers_whose_weights_are_all_kept_are_named(place: Path) -> None:
    import keras
    from keras import layers

    parts = [layers.Reshape((12, 12)), layers.Conv1D(4, 3, name="rows"), layers.Flatten(), layers.Dense(4)]
    save_model(keras.Sequential([keras.Input((12, 12, 1)), *parts]), place / "rows.keras")
    (place / "taken").write_text("")
    found = run("rows.keras", "--method", "magnitude", "--keep", "50%", "--output", "taken/folder")
    assert "not known, all of their weights are kept: rows" in found.stderr
    assert found.exit_code == 1  # where the outcome cannot go, which ends it before anything is trained


def test_a_model_that_computes_in_halves_is_refused_before_it_is_trained(place: Path) -> None:
    import keras

    layers = [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(4, dtype="mixed_float16", name="head")]
    save_model(keras.Sequential(layers), place / "halves.keras")
    found = run("halves.keras", "--method", "magnitude", "--keep", "50%")
    assert found.exit_code == 1
    assert "halves.keras computes in mixed_float16 (head)" in found.stderr


@pytest.mark.parametrize(("changed", "said"), [({"precision": "int8"}, "int8 with 1 threads"), ({"threads": 4}, "float32 with 4 threads")])
def test_a_table_of_other_models_than_are_measured_is_an_error(place: Path, changed: dict[str, Any], said: str) -> None:
    known = given.table(layers_at_widths(network_named("small.toml"), (0.5,)))
    replace(known, origin=replace(known.origin, device="pi4", **changed)).save(place / "other.json")
    found = run("small.toml", "--method", "netadapt", "--target-ms", "1", "--table", "other.json")
    assert found.exit_code == 1
    assert f"the table other.json is of {said}" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("small.toml", "--method", "netadapt"), "Give one of --target-ms and --target-share"),
        (("small.toml", "--method", "netadapt", "--resource", "mult-adds", "--target-ms", "3"), "--target-ms is of latency"),
        (("small.toml", "--method", "obd"), "give the share to keep, and nothing else"),
        (("small.toml", "--method", "obd", "--quality", "1"), "obd ranks all weights"),
        (
            ("small.toml", "--method", "magnitude", "--keep", "20%", "--loss", "1%"),
            "magnitude is given keep and loss to keep by: give one of",
        ),
        (("small.toml", "--method", "obd", "--keep", "50%", "--seed", "8589934592"), "is not in the range"),
        (("small.toml", "--method", "morphnet", "--target-ms", "1", "--strength", "inf"), "is no finite number"),
        (("small.toml", "--method", "obd", "--keep", "50%", "--table", "none.json"), "there is no latency table none.json"),
        (("missing.keras", "--method", "obd", "--keep", "50%"), "no such file or folder"),
        (("missing.keras", "--method", "obd", "--keep", "50%"), "give a .keras file, or a network's name"),
        (("mobilenet_v2", "--method", "obd", "--keep", "50%"), "has images of (12, 12, 1), mobilenet_v2 reads [224, 224, 3]"),
        (
            ("larger.toml", "--method", "obd", "--keep", "50%", "--table", "none.json"),
            "images of 12x12 are scaled to the 20x20 that larger",
        ),
        (
            ("small.toml", "--method", "netadapt", "--resource", "mult-adds", "--target-share", "0.01%"),
            "cannot be reached: at its narrowest",
        ),
    ],
)
def test_what_cannot_be_is_one_error(place: Path, arguments: tuple[str, ...], said: str) -> None:
    found = run(*arguments, "--output", str(place / "none"), "--dense-epochs", "1")
    assert found.exit_code in (1, 2)
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    shutil.rmtree(place / "none", ignore_errors=True)
