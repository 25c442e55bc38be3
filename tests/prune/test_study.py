"""Studies of every method, cut short and gone on with, and what they are reported to have gained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.prune.masks import kernels_of
from harness.prune.netadapt import Budgets
from harness.prune.outcome import REPORT, Outcome, outcome_of
from harness.prune.resources import Counted
from harness.prune.structure import Structure
from harness.prune.study import LOG, Asked, Pruned, run_study
from harness.report.pruned import outcome_table, plot_layers, plot_sensitivities
from harness.tables.reading import read
from harness.training import fit as fitting
from harness.training.data import DataSet
from harness.training.saved import load_model
from tests.prune.images import QUICK, convolutional, data

pytestmark = pytest.mark.usefixtures("keras")

MAGNITUDE = Asked("magnitude", keep=0.25, rounds=2, final_epochs=1)
OBD = Asked("obd", keep=0.3, rounds=1, final_epochs=1)
BUDGETS = Budgets(0.2, 1.0, 4)
AMOUNT = 573_696.0
NETADAPT = Asked("netadapt", resource="mult-adds", target=0.6 * AMOUNT, batches=3, final_epochs=1, budgets=BUDGETS)
MORPHNET = Asked("morphnet", resource="mult-adds", target=0.7 * AMOUNT, rounds=2, epochs=2, final_epochs=1)


@pytest.fixture(scope="module")
def images() -> DataSet:
    return data()


def study(asked: Asked, images: DataSet, folder: Path, trained: bool = True) -> Pruned:
    return run_study("mine", convolutional(), trained, asked, images, QUICK, folder)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.parametrize("asked", [MAGNITUDE, OBD, NETADAPT, MORPHNET], ids=lambda asked: asked.method)
def test_a_study_that_is_cut_anywhere_ends_as_one_that_is_not(
    asked: Asked, images: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = study(asked, images, tmp_path / "whole")
    fitted, trained = fitting.fit, 0

    def cut(*arguments: Any, **named: Any) -> Any:
        nonlocal trained
        trained += 1
        if trained % 2 == 0:
            raise KeyboardInterrupt
        return fitted(*arguments, **named)

    monkeypatch.setattr("harness.prune.study.fit", cut)
    for _ in range(20):
        try:
            found = study(asked, images, tmp_path / "cut")
            break
        except KeyboardInterrupt:
            continue
    assert found.model.count_params() == whole.model.count_params()
    for one, other in zip(found.model.get_weights(), whole.model.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert [set(line) for line in lines(tmp_path / "cut")] == [set(line) for line in lines(tmp_path / "whole")]
    calls = trained
    again = study(asked, images, tmp_path / "cut")
    assert trained == calls  # nothing is trained twice
    assert again.model.count_params() == found.model.count_params()


def test_weights_are_kept_to_the_share_and_channels_to_the_amount(images: DataSet, tmp_path: Path) -> None:
    weights = sum(int(np.prod(kernel.shape)) for kernel in kernels_of(convolutional()).values())
    for asked in (MAGNITUDE, OBD):
        found = study(asked, images, tmp_path / asked.method)
        left = sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels_of(found.model).values())
        assert asked.keep is not None
        assert left == pytest.approx(asked.keep * weights, rel=0.03)
    for asked in (NETADAPT, MORPHNET):
        structure = Structure(study(asked, images, tmp_path / asked.method).model)
        assert asked.target is not None
        assert Counted(structure.channels, "mult-adds").of(structure.widths) <= asked.target


def test_a_model_that_comes_untrained_is_trained_first(images: DataSet, tmp_path: Path) -> None:
    asked = replace(OBD, dense_epochs=4)
    found = study(asked, images, tmp_path, trained=False)
    assert lines(tmp_path)[1]["dense"]["accuracy"] > 0.5
    assert (load_model(tmp_path / "dense.keras").get_weights()[0] == found.dense.get_weights()[0]).all()


def test_another_study_s_folder_is_refused(images: DataSet, tmp_path: Path) -> None:
    study(replace(OBD, epochs=1), images, tmp_path)
    with pytest.raises(ConfigError, match=f"the pruning in {tmp_path / LOG} has other settings: asked"):
        study(replace(OBD, epochs=2), images, tmp_path)


def test_what_was_gained_is_reported_layer_by_layer(images: DataSet, tmp_path: Path) -> None:
    pruned = study(MAGNITUDE, images, tmp_path)
    found = outcome_of("mine", "magnitude", pruned.dense, pruned.model, images, QUICK, tmp_path)
    assert found == read(Outcome, json.loads((tmp_path / REPORT).read_text()), "the report")
    assert (found.after.measured_ms, found.device) == (None, None)
    assert [one.name for one in found.layers] == ["stem", "inner", "outer", "head"]
    assert sum(one.weights[1] for one in found.layers) == found.after.weights
    assert found.after.sizes.sparse_bytes < found.before.sizes.sparse_bytes
    assert {"dense.tflite", "pruned.tflite"} < {one.name for one in tmp_path.iterdir()}
    assert plot_layers(found, tmp_path / "layers.svg").stat().st_size > 5000
    assert plot_sensitivities(pruned.sensitivities, tmp_path / "sensitivity.svg").stat().st_size > 5000
    assert outcome_table(found) is not None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "obd"}, "obd keeps a share of weights, or those above a quality"),
        ({"method": "obd", "quality": 1.0}, "obd has no quality"),
        ({"method": "magnitude", "keep": 1.5}, "the share to keep is 1.5"),
        ({"method": "netadapt"}, "netadapt cuts channels down to a target"),
    ],
)
def test_what_cannot_be_asked_is_one_error(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Asked(**changed)
