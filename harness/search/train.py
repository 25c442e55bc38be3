"""Children really trained: the quality of a candidate is its accuracy on held-out data after a few epochs (proxy training)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.errors import ConfigError
from harness.networks.blocks import DenseLayer
from harness.networks.network import Network
from harness.networks.space import Space, Tokens
from harness.search.data import DataSet
from harness.search.run import ChildFailed


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, its learning rate warmed up over an epoch and brought down by a cosine.

    The accuracy that counts is the best of the `last` epochs (Zoph and Le 2017: of 5). `pad` is how far images are shifted at random, in
    pixels of the network's input; with `flip` half of them are mirrored. At a `resolution` candidates are trained at a height and width of
    so many pixels, instead of that of their space.
    """

    epochs: int = 5
    batch: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    flip: bool = True
    pad: int = 4
    last: int = 5
    resolution: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "last", "resolution"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ConfigError(f"{name} is {number}", "expected: 1 or more")


@dataclass(frozen=True)
class Trained:
    """A trained network: its accuracies on the validation data, an epoch each, and that on the test data where it was asked for."""

    model: Any
    accuracies: tuple[float, ...]
    test_accuracy: float | None


class Trainer:
    """Trains candidates of a space on a data set. Called with tokens it returns their quality: the accuracy from 0 to 1."""

    def __init__(self, space: Space, data: DataSet, recipe: Recipe, seed: int = 0) -> None:
        """Adapt the space to the classes of the data; raises ConfigError where they do not fit together."""
        self._space = adapted(space, data)
        self._data = data
        self._recipe = recipe
        self._seed = seed

    def __call__(self, tokens: Tokens) -> float:
        """Return the best accuracy of the last epochs; raises ChildFailed where training diverges or does not fit into memory."""
        network = self._space.network(tokens)
        if self._recipe.resolution is not None:
            network = replace(network, input=(self._recipe.resolution, self._recipe.resolution, network.input[-1]))
        found = train(network, self._data, self._recipe, self._seed)
        return max(found.accuracies[-self._recipe.last :])


def adapted(space: Space, data: DataSet) -> Space:
    """Return the space with as many classes as the data have; raises ConfigError where its input or its end does not fit them."""
    *rest, last = space.head or (None,)
    if not isinstance(last, DenseLayer):
        raise ConfigError(f"{space.name} does not end in a dense layer, which tells classes", "give it one in its head")
    if last.activation != "softmax":
        raise ConfigError(f"{space.name} ends in {last.activation}, not in probabilities", "give its last layer the activation softmax")
    if space.input[-1] != data.shape[-1]:
        what = f"{data.name} has images of {data.shape[-1]} channels, {space.name} reads {space.input[-1]}"
        raise ConfigError(what, "give the space's input as many")
    return replace(space, head=(*rest, replace(last, units=data.classes)))


def train(
    network: Network,
    data: DataSet,
    recipe: Recipe,
    seed: int = 0,
    *,
    tested: bool = False,
    each: Callable[[int, float], None] | None = None,
) -> Trained:
    """Return the network, trained; `each` is told the number of every epoch and its accuracy. On a GPU where there is one.

    Raises ChildFailed where its loss is no number, or it does not fit into memory.
    """
    from harness.search.backend import load_keras

    load_keras()
    import keras
    import tensorflow as tf

    from harness.networks.keras_build import build_keras

    keras.backend.clear_session(free_memory=True)
    keras.utils.set_random_seed(seed)
    steps = math.ceil(len(data.train[0]) / recipe.batch)
    optimizer = keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(
            0.0, max(1, (recipe.epochs - 1) * steps), warmup_target=recipe.learning_rate, warmup_steps=min(steps, recipe.epochs * steps - 1)
        ),
        momentum=recipe.momentum,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    accuracies: list[float] = []

    def ended(epoch: int, logs: dict[str, float]) -> None:
        if not np.isfinite(logs["loss"]):
            raise ChildFailed(f"its loss is {logs['loss']} after epoch {epoch + 1}", "a lower learning rate may help")
        accuracies.append(float(logs["val_accuracy"]))
        if each is not None:
            each(epoch + 1, accuracies[-1])

    try:
        model = build_keras(network, seed=seed)
        model.compile(optimizer, loss, metrics=["accuracy"])
        model.fit(
            fed(data.train, data.classes, network.input, recipe, seed=seed),
            validation_data=fed(data.validation, data.classes, network.input, recipe),
            epochs=recipe.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=ended)],
        )
        test = model.evaluate(fed(data.test, data.classes, network.input, recipe), verbose=0, return_dict=True) if tested else None
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise ChildFailed(f"it does not fit into memory: {str(error).splitlines()[0]}", "a smaller batch may") from None
    return Trained(model, tuple(accuracies), None if test is None else float(test["accuracy"]))


def fed(part: tuple[Any, Any], classes: int, shape: tuple[int, ...], recipe: Recipe, seed: int | None = None) -> Any:
    """Return batches of a part of the data as a `tf.data.Dataset`: images of the network's size from 0 to 1, labels one-hot.

    With a seed they are shuffled, shifted and mirrored, in the same way for the same seed.
    """
    import tensorflow as tf

    images, labels = part
    height, width, channels = shape
    pairs = tf.data.Dataset.from_tensor_slices((images, labels.astype(np.int32)))

    def shaped(image: Any, label: Any) -> tuple[Any, Any]:
        scaled = tf.cast(image, tf.float32) / 255.0
        if scaled.shape[:2] != (height, width):
            scaled = tf.image.resize(scaled, (height, width))
        return scaled, tf.one_hot(label, classes)

    def varied(number: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        image, label = shaped(*pair)
        drawn = tf.stack([tf.constant(seed, tf.int64), number])
        padded = tf.pad(image, [[recipe.pad, recipe.pad], [recipe.pad, recipe.pad], [0, 0]])
        moved = tf.image.stateless_random_crop(padded, (height, width, channels), drawn)
        return (tf.image.stateless_random_flip_left_right(moved, drawn) if recipe.flip else moved), label

    if seed is None:
        ready = pairs.map(shaped, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        shuffled = pairs.shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
        ready = shuffled.enumerate().map(varied, num_parallel_calls=tf.data.AUTOTUNE)
    return ready.batch(recipe.batch).prefetch(tf.data.AUTOTUNE)
