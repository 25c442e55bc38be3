"""`harness prune` from data to a measured model, on a real board (an SSH server on this machine), and its errors."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.prune.outcome import Outcome
from harness.tables import build as building
from harness.tables import wholes
from harness.tables.reading import read
from tests.devices.netns import allowed
from tests.devices.sshd import Sshd, inventory
from tests.prune.images import stripes

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
    assert told.after.parameters < told.before.parameters
    assert {"dense.keras", "dense.tflite", "pruned.keras", "pruned.tflite", "layers.png"} < {one.name for one in folder.iterdir()}
    again = run(*options, "--widths", "0.5,1")
    assert again.exit_code == 0
    assert "latency, measured" in again.stdout
    assert report(folder) == told  # nothing is done twice
    changed = run(*options, "--widths", "0.5,1", "--seed", "1")
    assert changed.exit_code == 1
    assert "has other settings" in changed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("small.toml", "--method", "netadapt"), "Give --target-ms or --target-share"),
        (("small.toml", "--method", "netadapt", "--resource", "mult-adds", "--target-ms", "3"), "--target-ms is of latency"),
        (("small.toml", "--method", "obd"), "give the share to keep"),
        (("small.toml", "--method", "obd", "--quality", "1"), "obd ranks all weights"),
        (("small.toml", "--method", "obd", "--keep", "50%", "--table", "none.json"), "there is no latency table none.json"),
        (("missing.keras", "--method", "obd", "--keep", "50%"), "no such file or folder"),
        (("mobilenet_v2", "--method", "obd", "--keep", "50%"), "has images of (12, 12, 1), mobilenet_v2 reads [224, 224, 3]"),
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
