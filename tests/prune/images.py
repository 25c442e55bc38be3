"""Images that anyone can tell apart, and small models that learn to."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.training.data import DataSet, data_of
from harness.training.fit import Recipe

QUICK = Recipe(batch=32, learning_rate=0.05, label_smoothing=0.0, flip=False, pad=0)
CLASSES = 4


def stripes(count: int, seed: int, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images of one channel whose brightest stripe tells their class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    images = generator.integers(0, 120, (count, size, size, 1))
    for image, label in zip(images, labels, strict=True):
        image[:, label * size // CLASSES : (label + 1) * size // CLASSES] += 100
    return images.astype(np.uint8), labels.astype(np.int64)


def data(count: int = 640) -> DataSet:
    """Return a data set of such images."""
    (x_train, y_train), (x_test, y_test) = stripes(count, 0), stripes(200, 1)
    return data_of("stripes", {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test})


def convolutional(seed: int = 0) -> Any:
    """Return a network of convolutions with batch norm, a residual addition among them."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    given = keras.Input((12, 12, 1))
    made = layers.ReLU()(
        layers.BatchNormalization(momentum=0.9, name="stem_norm")(layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(given))
    )
    inner = layers.Conv2D(24, 3, padding="same", use_bias=False, name="inner")(made)
    inner = layers.ReLU()(layers.BatchNormalization(momentum=0.9, name="inner_norm")(inner))
    outer = layers.BatchNormalization(momentum=0.9, name="outer_norm")(layers.Conv2D(16, 1, use_bias=False, name="outer")(inner))
    made = layers.GlobalAveragePooling2D()(layers.Add()([made, outer]))
    return keras.Model(given, layers.Dense(CLASSES, activation="softmax", name="head")(made), name="convolutional")


def dense(seed: int = 0, units: int = 12, channels: int = 1) -> Any:
    """Return a small network of dense layers."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((12, 12, channels)),
            layers.AveragePooling2D(3),
            layers.Flatten(),
            layers.Dense(units, activation="tanh", name="first"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(CLASSES, name="second"),
        ],
        name="dense",
    )
