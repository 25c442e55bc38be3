"""Data sets of images with labels, from wherever the user has them: a .npz file, a folder of images, a data set that Keras knows."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
KERAS_SETS = ("cifar10", "cifar100", "fashion_mnist", "mnist")
HELD_OUT = 0.1
"""The share of what there is to train with that candidates are judged by; the test set is left for the end."""

_NEITHER = "give a .npz file, a folder of images, or one of"


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images [images, height, width, channels] of whole numbers from 0 to 255, and labels [images] from 0 to `classes` - 1."""

    name: str
    train: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
    test: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image: height, width, channels."""
        height, width, channels = self.train[0].shape[1:]
        return height, width, channels

    @cached_property
    def sha256(self) -> str:
        """A hash of all images and labels."""
        found = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for array in part:
                found.update(array.tobytes())
        return found.hexdigest()


def data_named(text: str) -> DataSet:
    """Return the data set that a text names: a .npz file, a folder, or a name that Keras knows.

    A .npz file holds x_train, y_train, x_test and y_test, as Keras' own do; nothing is unpickled. A folder holds train/ and test/, each
    with a folder of images for each class. One that Keras knows comes from its cache, or is downloaded. Raises ConfigError for anything
    else, and where shapes or labels do not fit together.
    """
    path = Path(text)
    if path.suffix == ".npz":
        return data_of(path.stem, _read_npz(path))
    if path.is_dir():
        return data_of(path.name, _read_folder(path))
    if text in KERAS_SETS:
        return data_of(text, _from_keras(text))
    raise ConfigError(f"{text!r} is no data set", f"{_NEITHER} {', '.join(KERAS_SETS)}")


def data_of(name: str, arrays: Mapping[str, npt.NDArray[Any]], seed: int = 0) -> DataSet:
    """Return the data set of the arrays x_train, y_train, x_test and y_test; raises ConfigError where they do not fit together.

    A tenth of what there is to train with, chosen by the seed, is held out for validation.
    """
    if missing := [each for each in ARRAYS if each not in arrays]:
        raise ConfigError(f"{name} lacks {' and '.join(missing)}", f"it must hold {', '.join(ARRAYS)}")
    x_train, x_test = _images(name, "x_train", arrays["x_train"]), _images(name, "x_test", arrays["x_test"])
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ConfigError(f"{name}: x_train has images of {x_train.shape[1:]}, x_test of {x_test.shape[1:]}", "make them of one size")
    y_train, y_test = _labels(name, "y_train", arrays["y_train"], len(x_train)), _labels(name, "y_test", arrays["y_test"], len(x_test))
    classes = int(y_train.max()) + 1
    if classes < 2 or y_test.max() >= classes:
        raise ConfigError(
            f"{name}: y_train has labels up to {classes - 1}, y_test up to {y_test.max()}", "classes are counted from 0, two or more"
        )
    order = np.random.default_rng(seed).permutation(len(x_train))
    held, kept = np.split(order, [max(1, round(HELD_OUT * len(order)))])
    return DataSet(name, (x_train[kept], y_train[kept]), (x_train[held], y_train[held]), (x_test, y_test), classes)


def data_of_batches(name: str, train: Any, test: Any, seed: int = 0) -> DataSet:
    """Return the data set of two `tf.data.Dataset`s of images and labels, in batches or one by one, which are gone through once.

    Raises ConfigError where they do not fit together.
    """
    arrays = {}
    for part, given in (("train", train), ("test", test)):
        pairs = [(np.asarray(images), np.asarray(labels)) for images, labels in given.as_numpy_iterator()]
        if not pairs:
            raise ConfigError(f"{name}: the data set for x_{part} is empty", "give one of images and labels")
        together = np.concatenate if pairs[0][0].ndim == 4 else np.stack
        arrays[f"x_{part}"] = together([images for images, _ in pairs])
        arrays[f"y_{part}"] = together([labels for _, labels in pairs])
    return data_of(name, arrays, seed)


def _images(name: str, which: str, images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) < 2:
        what = f"{name}: {which} is an array {list(images.shape)} of {images.dtype}"
        raise ConfigError(what, "expected: uint8 images [images, height, width, channels], 0 to 255")
    return images


def _labels(name: str, which: str, labels: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.shape != (count,) or not np.issubdtype(flat.dtype, np.integer) or flat.min() < 0:
        what = f"{name}: {which} is an array {list(labels.shape)} of {labels.dtype}"
        raise ConfigError(what, f"expected: {count} whole numbers from 0 on, one for each image")
    return flat.astype(np.int64)


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ARRAYS if name in file}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}", "give a .npz file with images and labels") from None
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{path} cannot be read: {error}", f"it must hold {', '.join(ARRAYS)} as plain arrays") from None


def _read_folder(path: Path) -> dict[str, npt.NDArray[Any]]:
    from harness.training.backend import load_keras

    parts = [path / name for name in ("train", "test")]
    if missing := [part for part in parts if not part.is_dir()]:
        raise ConfigError(f"{path} has no folder {missing[0].name}", "images lie in train/CLASS and test/CLASS")
    load_keras()
    import keras
    import tensorflow as tf

    arrays: dict[str, npt.NDArray[Any]] = {}
    names, others = (sorted(entry.name for entry in part.iterdir() if entry.is_dir()) for part in parts)
    if names != others:
        raise ConfigError(f"{path}: train/ has the classes {', '.join(names)}, test/ {', '.join(others)}", "give both the same folders")
    for part in parts:
        try:
            size = _size_of_first(parts[0])
            found = keras.utils.image_dataset_from_directory(
                part, labels="inferred", class_names=names, image_size=size, batch_size=None, shuffle=False, verbose=False
            )
            pairs = list(found.as_numpy_iterator())
        except (ValueError, OSError, tf.errors.OpError) as error:
            raise ConfigError(f"{part} cannot be read: {error}", "images lie in train/CLASS and test/CLASS") from None
        arrays[f"x_{part.name}"] = np.stack([image for image, _ in pairs]).round().astype(np.uint8)
        arrays[f"y_{part.name}"] = np.array([label for _, label in pairs], dtype=np.int64)
    return arrays


def _size_of_first(folder: Path) -> tuple[int, int]:
    """Return the height and width of the first image of a folder: all are brought to it."""
    import keras

    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".gif"):
            width, height = keras.utils.load_img(file).size
            return height, width
    raise ConfigError(f"{folder} holds no images", "images lie in train/CLASS and test/CLASS, as .jpg or .png")


def _from_keras(name: str) -> dict[str, npt.NDArray[Any]]:
    from harness.training.backend import load_keras

    load_keras()
    import keras

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # noqa: BLE001 - Keras raises a bare one where a download fails
        raise ConfigError(
            f"Keras cannot load {name}: {error}", "download it on a machine with internet, and give it as a .npz file"
        ) from None
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
