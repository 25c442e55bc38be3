"""Studies of every method, cut short and gone on with, and what they are reported to have gained."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.errors import ConfigError
from harness.log import LineLog
from harness.prune.asked import Asked
from harness.prune.hashes import structure_hash
from harness.prune.masks import kernels_of
from harness.prune.netadapt import Budgets
from harness.prune.outcome import REPORT, Outcome, network_of, outcome_of
from harness.prune.structure import Structure
from harness.prune.study import LOG, Pruned, run_study
from harness.report import numbers
from harness.report.pruned import outcome_table, plot_layers, plot_sensitivities
from harness.tables.layers import LayerTable, layers_at_widths
from harness.tables.reading import read
from harness.training import fit as fitting
from harness.training.data import DataSet
from harness.training.isolated import Isolated
from harness.training.saved import load_model
from tests.prune.images import QUICK, convolutional, data, dense
from tests.tables import given

pytestmark = pytest.mark.usefixtures("keras")

MAGNITUDE = Asked("magnitude", keep=0.25, rounds=2, final_epochs=1, dense_epochs=1)
OBD = Asked("obd", keep=0.3, rounds=2, final_epochs=1)
BUDGETS = Budgets(0.2, 1.0, 4)
AMOUNT = 573_696.0
NETADAPT = Asked("netadapt", resource="mult-adds", target=0.7 * AMOUNT, batches=2, final_epochs=1, budgets=BUDGETS)
LATENCY_MS = 0.03
MORPHNET = Asked("morphnet", target=LATENCY_MS, rounds=2, epochs=1, final_epochs=1)


@pytest.fixture(scope="module")
def images() -> DataSet:
    return data(320)


def study(asked: Asked, images: DataSet, folder: Path, trained: bool = True, make: Callable[[], Any] = convolutional) -> Pruned:
    model = make()
    table = layers_of(model) if asked.method == "morphnet" else None
    return run_study(model, trained, asked, images, QUICK, folder, table)


def layers_of(model: Any) -> LayerTable:
    """Return a table of a model's layers at widths of 8 channels and more."""
    return LayerTable(given.table(layers_at_widths(network_of(model, "mine"), (0.5, 1.5))))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.fixture(scope="module")
def of_magnitude(images: DataSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pruned]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, study(MAGNITUDE, images, folder, trained=False)


@pytest.mark.long
@pytest.mark.parametrize(
    ("asked", "make", "every"),
    [(replace(MAGNITUDE, keep=0.1), dense, 3), (OBD, dense, 3), (NETADAPT, convolutional, 7), (MORPHNET, convolutional, 3)],
    ids=["magnitude", "obd", "netadapt", "morphnet"],
)
def test_a_study_that_is_cut_anywhere_ends_as_one_that_is_not(
    asked: Asked, make: Callable[[], Any], every: int, images: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = study(asked, images, tmp_path / "whole", make=make)
    trained = 0
    cut_before: set[str] = set()

    def cut(training: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        nonlocal trained
        trained += 1
        if trained % every == 0:
            raise KeyboardInterrupt
        return training(*arguments, **named)

    def noted(log: LineLog, line: Any) -> None:
        if begun := {"step", "round", "final"} & set(line) - cut_before:
            cut_before.update(begun)  # its file is there, its line is not
            raise KeyboardInterrupt
        append(log, line)

    monkeypatch.setattr("harness.prune.study.fit", partial(cut, fitting.fit))
    called, append = Isolated.__call__, LineLog.append
    monkeypatch.setattr(Isolated, "__call__", lambda trainer, given: cut(called, trainer, given))
    monkeypatch.setattr(LineLog, "append", noted)
    for _ in range(20):
        try:
            found = study(asked, images, tmp_path / "cut", make=make)
            break
        except KeyboardInterrupt:
            continue
    assert found.model.count_params() == whole.model.count_params()
    for one, other in zip(found.model.get_weights(), whole.model.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert [set(line) for line in lines(tmp_path / "cut")] == [set(line) for line in lines(tmp_path / "whole")]
    calls = trained
    again = study(asked, images, tmp_path / "cut", make=make)
    assert trained == calls  # nothing is trained twice
    assert again.model.count_params() == found.model.count_params()


def normed() -> Any:
    """Return a model with a layer that is not known."""
    import keras
    from keras import layers

    given = keras.Input((12, 12, 1))
    made = layers.Conv2D(8, 3)(layers.LayerNormalization(name="normed")(layers.Conv2D(8, 3)(given)))
    return keras.Model(given, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(made))))


def frozen() -> Any:
    """Return a model whose batch norm is not trained."""
    model = convolutional()
    for name in ("stem_norm", "inner_norm", "outer_norm"):
        model.get_layer(name).trainable = False
    return model


def without_kernels() -> Any:
    """Return a model of which no weight can be removed."""
    import keras
    from keras import layers

    shape = keras.Input((12, 12, 1))
    return keras.Sequential([shape, layers.Conv2DTranspose(4, 3), layers.GlobalAveragePooling2D(), layers.Softmax()])


def share_left(model: Any) -> float:
    """Return the share of the weights of its kernels that are not zero."""
    kernels = kernels_of(model).values()
    return sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels) / sum(int(np.prod(kernel.shape)) for kernel in kernels)


def test_so_many_weights_are_kept_as_are_asked_for(of_magnitude: tuple[Path, Pruned], images: DataSet, tmp_path: Path) -> None:
    _, found = of_magnitude
    assert share_left(found.model) == pytest.approx(0.25, rel=0.03)
    assert share_left(study(OBD, images, tmp_path, make=dense).model) == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("by", [{"quality": 1.0}, {"loss": 0.2}], ids=["quality", "loss"])
def test_weights_go_by_a_threshold_or_a_loss(by: dict[str, float], images: DataSet, tmp_path: Path) -> None:
    found = study(replace(MAGNITUDE, keep=None, final_epochs=0, **by), images, tmp_path, make=dense)  # type: ignore[arg-type]  # floats
    assert {one.kernel for one in found.sensitivities} == set(kernels_of(found.model))
    first, second = (line["round"]["kept"] for line in lines(tmp_path) if "round" in line)
    assert 1 > first > second == pytest.approx(share_left(found.model))
    if "quality" in by:
        for whole, kernel in zip(kernels_of(found.dense).values(), kernels_of(found.model).values(), strict=True):
            weights, zero = whole.numpy(), kernel.numpy() == 0
            # Training between the rounds moves weights over the threshold, either way.
            assert np.mean(zero == (np.abs(weights) <= weights.std())) > 0.9
    with pytest.raises(ConfigError, match="20 standard deviations leave nothing of"):
        study(replace(MAGNITUDE, keep=None, quality=20.0), images, tmp_path / "none", trained=False, make=dense)
    assert not any("round" in line for line in lines(tmp_path / "none"))


def test_as_much_of_the_resource_is_left_as_is_asked_for(images: DataSet, tmp_path: Path) -> None:
    # Scales hardly move in so few steps: what dies is what the budget has no room for.
    structure = Structure(study(MORPHNET, images, tmp_path).model)
    assert layers_of(structure.model).latency(structure.channels).of(structure.widths) <= LATENCY_MS
    assert all(width % 8 == 0 for width in structure.widths)


@pytest.mark.parametrize(
    ("asked", "make", "said"),
    [
        (replace(MORPHNET, resource="mult-adds"), dense, "no batch norm that scales channels"),
        (replace(NETADAPT, target=1.0), convolutional, "1 mult-adds cannot be reached: at its narrowest"),
        (replace(NETADAPT, target=1.0), normed, "channels around normed, not known, are left whole"),
        (replace(NETADAPT, target=1e9), convolutional, "convolutional has .* mult-adds, no more than the target of 1,000,000,000"),
        (replace(MORPHNET, resource="parameters", target=1.0), convolutional, "at its narrowest it has .*, more than 1 parameters"),
        (replace(MORPHNET, resource="mult-adds"), frozen, "no batch norm that scales channels and is trained"),
        (MAGNITUDE, without_kernels, "has no convolution or dense layer whose weights could be removed"),
        (MAGNITUDE, lambda: dense(channels=3), "stripes has images of"),
        (Asked("obd", keep=0.5, hessian="exact"), lambda: dense(units=400), "6400 weights: its Hessian is too large"),
    ],
)
def test_what_cannot_be_reached_is_told_before_anything_is_trained(
    asked: Asked, make: Callable[[], Any], said: str, images: DataSet, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        run_study(make(), False, asked, images, QUICK, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_quality_that_leaves_nothing_of_a_trained_model_leaves_no_folder_behind(images: DataSet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="20 standard deviations leave nothing of"):
        run_study(dense(), True, replace(MAGNITUDE, keep=None, quality=20.0), images, QUICK, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_comes_out_is_compiled_by_whoever_loads_it(of_magnitude: tuple[Path, Pruned]) -> None:
    import keras

    folder, found = of_magnitude
    for name in ("dense", "pruned"):
        assert not keras.saving.load_model(folder / f"{name}.keras").compiled
    assert found.model.count_params() == keras.saving.load_model(folder / "pruned.keras").count_params()


def test_a_model_that_comes_untrained_is_trained_first(of_magnitude: tuple[Path, Pruned]) -> None:
    folder, found = of_magnitude
    assert 0 <= lines(folder)[1]["dense"]["accuracy"] <= 1
    assert (load_model(folder / "dense.keras").get_weights()[0] == found.dense.get_weights()[0]).all()
    assert (found.dense.get_weights()[0] != convolutional().get_weights()[0]).any()


def test_another_study_s_folder_is_refused(images: DataSet, tmp_path: Path) -> None:
    with LineLog(tmp_path / LOG, {"model": ["other"]}, "pruning"):
        pass
    with pytest.raises(ConfigError, match=f"the pruning in {tmp_path / LOG} has other settings: another model; asked None, not"):
        study(OBD, images, tmp_path)


def rescaled(scale: float) -> Any:
    """Return a model that differs in a setting of a layer alone."""
    import keras

    inner = dense()
    given = keras.Input((12, 12, 1))
    return keras.Model(given, inner(keras.layers.Rescaling(scale)(given)))


def test_models_are_told_apart_by_all_that_they_compute_and_not_by_names() -> None:
    one, same, other = (structure_hash(Structure(rescaled(scale))) for scale in (1.0, 1.0, 255.0))
    assert one == same != other


def test_a_file_that_is_gone_is_one_error(images: DataSet, tmp_path: Path) -> None:
    asked = replace(MAGNITUDE, rounds=1, final_epochs=0)
    study(asked, images, tmp_path, make=dense)
    for name in ("dense.keras", "pruned.keras"):
        (tmp_path / name).rename(tmp_path / "away")
        with pytest.raises(ConfigError, match=f"{name} is gone, which was made before"):
            study(asked, images, tmp_path, make=dense)
        (tmp_path / "away").rename(tmp_path / name)


def test_what_was_gained_is_reported_layer_by_layer(of_magnitude: tuple[Path, Pruned], images: DataSet, tmp_path: Path) -> None:
    _, pruned = of_magnitude
    table = layers_of(pruned.dense)
    found = outcome_of("mine", "magnitude", pruned.dense, pruned.model, images, QUICK, tmp_path, table=table)
    assert found == read(Outcome, json.loads((tmp_path / REPORT).read_text()), "the report")
    assert (found.after.measured_ms, found.device) == (None, None)
    assert found.before.predicted_ms == found.after.predicted_ms  # zeros are computed like any other weights
    assert found.before.predicted_ms == pytest.approx(sum(one.predicted_ms[0] for one in found.layers if one.predicted_ms), rel=0.5)
    assert [one.name for one in found.layers if one.mult_adds] == ["stem", "inner", "outer", "head"]
    assert sum(one.weights[1] for one in found.layers) == found.after.weights
    assert sum(one.parameters[1] for one in found.layers) == found.after.parameters
    assert found.after.sizes.sparse_bytes < found.before.sizes.sparse_bytes
    assert {"dense.tflite", "pruned.tflite"} < {one.name for one in tmp_path.iterdir()}
    assert plot_layers(found, tmp_path / "layers.svg").stat().st_size > 5000
    assert plot_sensitivities(pruned.sensitivities, tmp_path / "sensitivity.svg").stat().st_size > 5000
    shown = io.StringIO()
    Console(file=shown, width=200).print(outcome_table(found))
    assert numbers.count(found.before.weights) in shown.getvalue()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "obd"}, "obd ranks all weights by their saliency"),
        ({"method": "obd", "quality": 1.0}, "obd ranks all weights"),
        ({"method": "magnitude"}, "magnitude is given nothing to keep by"),
        ({"method": "magnitude", "keep": 0.5, "loss": 0.01}, "magnitude is given keep and loss to keep by"),
        ({"method": "morphnet", "target": 1.0, "final_epochs": 0}, "morphnet ends in a network of new weights"),
        ({"method": "magnitude", "keep": 1.5}, "the share to keep is 1.5"),
        ({"method": "netadapt"}, "netadapt cuts channels down to a target"),
    ],
)
def test_what_cannot_be_asked_is_one_error(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Asked(**changed)
