"""Children that are really trained, on images that anyone can tell apart, and what becomes of those that cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError, TrainingFailed
from harness.search.train import Trainer, adapted, train
from harness.training.data import DataSet, data_named, data_of, data_of_batches
from harness.training.fit import Recipe, Trained, fed
from tests.search.spaces import small

QUICK = Recipe(epochs=8, batch=16, learning_rate=0.05, flip=False, pad=1)


def stripes(count: int, classes: int = 3, size: int = 16, channels: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images whose brightest third tells their class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    images = generator.integers(0, 100, (count, size, size, channels))
    for image, label in zip(images, labels, strict=True):
        image[:, label * size // classes : (label + 1) * size // classes] += 120
    return images.astype(np.uint8), labels.astype(np.int64)


def arrays(**changed: Any) -> dict[str, Any]:
    (x_train, y_train), (x_test, y_test) = stripes(400), stripes(100, seed=1)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **changed}


@pytest.fixture(scope="module")
def data() -> DataSet:
    return data_of("stripes", arrays())


def test_a_tenth_is_held_out(data: DataSet) -> None:
    assert [len(part[0]) for part in (data.train, data.validation, data.test)] == [360, 40, 100]
    assert (data.shape, data.classes) == ((16, 16, 3), 3)


def test_a_child_learns_and_the_same_seed_the_same(data: DataSet, tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    quality = Trainer(space, data, QUICK)((1, 1, 1, 0, 1, 0))
    assert quality > 0.8
    told: list[tuple[int, float]] = []
    network = adapted(space, data).network((1, 1, 1, 0, 1, 0))
    found = train(network, data, QUICK, tested=True, each=lambda epoch, accuracy: told.append((epoch, accuracy)))
    assert found.model.output_shape == (None, 3)
    assert [accuracy for _, accuracy in told] == list(found.accuracies)
    assert max(found.accuracies) == quality
    assert found.test_accuracy is not None
    assert found.test_accuracy > 0.8


def test_a_child_whose_weights_do_not_fit_into_memory_has_failed(data: DataSet, tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    kernel, _ = space.stages[1].choices
    large = replace(space.stages[1], choices=(kernel,), fixed=(*space.stages[1].fixed, ("filters", 1_000_000)))
    trainer = Trainer(replace(space, stages=(space.stages[0], large)), data, QUICK)
    with pytest.raises(TrainingFailed, match="does not fit into memory"):
        trainer((0, 0, 0, 2, 0))  # three layers, the second with 4 TB of weights


def test_a_child_that_diverges_has_failed(data: DataSet, tmp_path: Path) -> None:
    trainer = Trainer(small("stages", tmp_path), data, Recipe(epochs=2, batch=16, learning_rate=1e30))
    with pytest.raises(TrainingFailed, match="its loss is nan after epoch"):
        trainer((0, 0, 0, 0, 0, 0))


def test_images_are_brought_to_the_size_of_the_network(tmp_path: Path) -> None:
    (x_train, y_train), (x_test, y_test) = stripes(100, size=24), stripes(40, size=24, seed=1)
    data = data_of("large", {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test})
    recipe = Recipe(epochs=1, batch=16)
    shown, _ = next(fed(data.train, data.classes, (16, 16, 3), recipe, seed=0).as_numpy_iterator())
    assert shown.shape == (16, 16, 16, 3)
    assert 0 <= Trainer(small("stages", tmp_path), data, recipe)((0, 0, 0, 0, 0, 0)) <= 1


def test_data_come_from_a_file_or_a_folder(tmp_path: Path) -> None:
    import keras

    made = arrays()
    np.savez(tmp_path / "stripes.npz", **made)
    assert (data_named(str(tmp_path / "stripes.npz")).test[0] == made["x_test"]).all()
    for part in ("train", "test"):
        for index, (image, label) in enumerate(zip(made[f"x_{part}"][:30], made[f"y_{part}"][:30], strict=True)):
            folder = tmp_path / "images" / part / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            keras.utils.save_img(folder / f"{index:03}.png", image, scale=False)
    found = data_named(str(tmp_path / "images"))
    assert (found.shape, found.classes, len(found.test[0])) == ((16, 16, 3), 3, 30)
    assert sorted(image.tobytes() for image in found.test[0]) == sorted(image.tobytes() for image in made["x_test"][:30])


def test_data_that_keras_cannot_load_are_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def away() -> None:
        raise Exception("URL fetch failure: no route to host")  # noqa: TRY002 - as Keras does

    monkeypatch.setattr(keras.datasets.mnist, "load_data", away)
    with pytest.raises(ConfigError, match="Keras cannot load mnist: URL fetch failure"):
        data_named("mnist")


@pytest.mark.parametrize("batch", [None, 32])
def test_data_come_from_tensorflow(batch: int | None) -> None:
    import tensorflow as tf

    made = arrays()
    parts = [tf.data.Dataset.from_tensor_slices((made[f"x_{part}"], made[f"y_{part}"])) for part in ("train", "test")]
    found = data_of_batches("stripes", *(part if batch is None else part.batch(batch) for part in parts))
    assert found.sha256 == data_of("stripes", made).sha256
    with pytest.raises(ConfigError, match="x_train is empty"):
        data_of_batches("none", parts[0].take(0), parts[1])


def test_children_may_be_trained_at_another_resolution(data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.search.train.fit", lambda model, *_, **__: Trained(model, (float(model.input_shape[1]),), None))
    assert Trainer(small("stages", tmp_path), data, Recipe(resolution=8))((0, 0, 0, 0, 0, 0)) == 8
    with pytest.raises(ConfigError, match="resolution is 0"):
        Recipe(resolution=0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x_train": np.zeros((400, 16, 16, 3), np.float32)}, "x_train is an array .* of float32"),
        ({"x_test": np.zeros((100, 8, 8, 3), np.uint8)}, "x_test of \\(8, 8, 3\\)"),
        ({"y_train": np.zeros(7, np.int64)}, "expected: 400 whole numbers|y_train is an array \\[7\\]"),
        ({"y_test": np.full(100, 9)}, "y_test up to 9"),
        ({"y_train": np.full(400, -1)}, "y_train is an array"),
    ],
)
def test_arrays_that_do_not_fit_are_one_error(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        data_of("bad", arrays(**changed))


def test_files_that_hold_no_data_are_one_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x_train=arrays()["x_train"])
    np.savez(tmp_path / "pickled.npz", **{**arrays(), "y_test": np.array([{}], dtype=object)})
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("few.npz", "lacks y_train and x_test and y_test"),
        ("pickled.npz", "cannot be read"),
        ("text.npz", "cannot be read"),
        ("missing.npz", "cannot read"),
        ("empty", "has no folder train"),
        ("cifar11", "'cifar11' is no data set"),
    ):
        with pytest.raises(ConfigError, match=said):
            data_named(str(tmp_path / name) if "." in name or name == "empty" else name)


def test_a_space_must_read_what_the_data_are(tmp_path: Path) -> None:
    gray = data_of("gray", arrays(x_train=arrays()["x_train"][..., :1], x_test=arrays()["x_test"][..., :1]))
    with pytest.raises(ConfigError, match="gray has images of 1 channels"):
        Trainer(small("stages", tmp_path), gray, QUICK)
