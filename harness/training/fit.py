"""Keras models trained: SGD on images, shifted and mirrored at random, the same in every run with the same seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import ConfigError, TrainingFailed
from harness.training.data import DataSet
from harness.training.fused import fused_norms
from harness.training.layers import seed_chance


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
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigError(f"the learning rate is {self.learning_rate}", "expected: a finite number above 0")


@dataclass(frozen=True)
class Trained:
    """A trained network: its accuracies on the validation data, an epoch each, and that on the test data where it was asked for."""

    model: Any
    accuracies: tuple[float, ...]
    test_accuracy: float | None


WARM_UP = 5
"""The learning rate rises over an epoch, but no more than a part of all steps, so large."""


def fit(
    model: Any,
    data: DataSet,
    recipe: Recipe,
    seed: int = 0,
    *,
    steps: int | None = None,
    tested: bool = False,
    each: Callable[[int, float], None] | None = None,
    callbacks: Sequence[Any] = (),
) -> Trained:
    """Return a Keras model, trained in place, and its accuracies; `each` is told the number of every epoch and its accuracy.

    With `steps` it is trained for so many batches in all, as one epoch or as part of it. On a GPU where there is one. Raises TrainingFailed
    where its loss is no number, or it does not fit into memory, and ConfigError where its input or output does not fit the data.
    """
    from harness.training.backend import load_keras

    load_keras()
    import keras

    check_fits(model, data)
    keras.utils.set_random_seed(seed)
    seed_chance(model, seed)
    whole = math.ceil(len(data.train[0]) / recipe.batch)
    epochs, total = (recipe.epochs, whole * recipe.epochs) if steps is None else (1, steps)
    rates = learning_rates(recipe.learning_rate, total, rising=min(whole, total // WARM_UP))
    optimizer = keras.optimizers.SGD(recipe.learning_rate, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay)
    step = itertools.count()
    accuracies: list[float] = []

    def set_rate(batch: int, logs: object) -> None:
        del batch, logs
        optimizer.learning_rate = rates[next(step)]

    def ended(epoch: int, logs: dict[str, float]) -> None:
        if not np.isfinite(logs["loss"]):
            raise TrainingFailed(f"its loss is {logs['loss']} after epoch {epoch + 1}", "a lower learning rate may help")
        accuracies.append(float(logs["val_accuracy"]))
        if each is not None:
            each(epoch + 1, accuracies[-1])

    shape = tuple(model.input_shape[1:])
    with within_memory():
        # What Keras makes while it traces a model costs a second trace, which is most of what a short training takes.
        model.compile(optimizer, loss_of(model, recipe), metrics=[keras.metrics.CategoricalAccuracy("accuracy")])
        optimizer.build(model.trainable_variables)
        given = fed(data.train, data.classes, shape, recipe, seed=seed)
        with fused_norms(model):
            model.fit(
                given if steps is None else given.repeat().take(steps),
                validation_data=fed(data.validation, data.classes, shape, recipe),
                epochs=epochs,
                shuffle=False,
                verbose=0,
                callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=set_rate, on_epoch_end=ended), *callbacks],
            )
        test = accuracy_of(model, data.test, data.classes, recipe) if tested else None
    return Trained(model, tuple(accuracies), test)


def learning_rates(highest: float, steps: int, rising: int) -> list[float]:
    """Return the learning rate of each step: risen to the highest in a line, brought down by a cosine (Loshchilov and Hutter 2017).

    As of `keras.optimizers.schedules.CosineDecay`, which takes milliseconds a step, as long as a small network's step itself.
    """
    risen = np.arange(rising) / max(1, rising)
    fallen = (1 + np.cos(np.pi * np.arange(steps - rising) / max(1, steps - rising))) / 2
    return [float(rate) for rate in highest * np.concatenate([risen, fallen])]


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise TrainingFailed where what is done within does not fit into memory."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        what, *_ = str(error).splitlines() or ["it is full"]
        raise TrainingFailed(f"it does not fit into memory: {what}", "a smaller batch may") from None


def loss_of(model: Any, recipe: Recipe) -> Any:
    """Return the loss of a classifier: cross-entropy on its probabilities, or on its logits where it does not end in a softmax."""
    import keras

    return keras.losses.CategoricalCrossentropy(from_logits=head_of(model) != "softmax", label_smoothing=recipe.label_smoothing)


def head_of(model: Any) -> str:
    """Return what a Keras classifier ends in: the name of the activation, or of the layer or operation without one.

    What changes no values behind it, such as a `Flatten`, is passed over.
    """
    import keras

    last, index, _ = model.outputs[0]._keras_history  # noqa: SLF001 - what made the output
    while True:
        if isinstance(last, keras.Model):
            last, index, _ = last.outputs[0]._keras_history  # noqa: SLF001 - as above
        elif _keeps_values(last):
            last, index, _ = last._inbound_nodes[index].input_tensors[0]._keras_history  # noqa: SLF001 - as above
        else:
            break
    activation = getattr(last, "activation", None)
    return str(getattr(activation, "__name__", type(last if activation is None else activation).__name__)).lower()


def _keeps_values(operation: Any) -> bool:
    from keras import activations, layers

    if isinstance(operation, layers.Activation):
        return operation.activation is activations.linear
    return isinstance(operation, layers.Flatten | layers.Reshape | layers.Dropout | layers.Identity)


def accuracy_of(model: Any, part: tuple[Any, Any], classes: int, recipe: Recipe) -> float:
    """Return the share of a part of the data that a model tells right."""
    images, labels = part
    told = model.predict(fed(part, classes, tuple(model.input_shape[1:]), recipe), verbose=0)
    assert len(told) == len(images)
    return float((np.argmax(told, axis=-1) == labels).mean())


def check_fits(model: Any, data: DataSet) -> None:
    """Raise ConfigError where a model cannot read images of the data, or does not tell their classes."""
    shape = tuple(model.input_shape[1:])
    if len(shape) != 3 or None in shape or shape[-1] != data.shape[-1]:
        what = f"{data.name} has images of {data.shape}, {model.name} reads {list(shape)}"
        raise ConfigError(what, "give it an input of [height, width, channels] with as many channels, and what flattens it within")
    if tuple(model.output_shape[1:]) != (data.classes,):
        what = f"{data.name} has labels up to {data.classes - 1}, {data.classes} classes, {model.name} tells {list(model.output_shape[1:])}"
        raise ConfigError(what, "give its last layer as many units: it is trained to tell classes, which are counted from 0")
    if (head := head_of(model)) == "sigmoid":
        raise ConfigError(f"{model.name} ends in a {head}, which tells no probabilities of classes", "end it in a softmax, or in logits")


def fed(part: tuple[Any, Any], classes: int, shape: tuple[int, ...], recipe: Recipe, seed: int | None = None) -> Any:
    """Return batches of a part of the data as a `tf.data.Dataset`: images of the network's size from 0 to 1, labels one-hot.

    With a seed they are shuffled, and shifted and mirrored as the recipe has it, in the same way for the same seed.
    """
    import tensorflow as tf

    images, labels = part
    height, width, channels = shape
    pairs = tf.data.Dataset.from_tensor_slices((images, labels.astype(np.int32)))

    def shaped(image: Any, label: Any) -> tuple[Any, Any]:
        """Return an image, or a batch of them, with its label."""
        scaled = tf.cast(image, tf.float32) / 255.0
        if scaled.shape[-3:-1] != (height, width):
            scaled = tf.image.resize(scaled, (height, width))
        return scaled, tf.one_hot(label, classes)

    def varied(number: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        image, label = shaped(*pair)
        drawn = tf.stack([tf.constant(seed, tf.int64), number])
        padded = tf.pad(image, [[recipe.pad, recipe.pad], [recipe.pad, recipe.pad], [0, 0]])
        moved = tf.image.stateless_random_crop(padded, (height, width, channels), drawn)
        return (tf.image.stateless_random_flip_left_right(moved, drawn) if recipe.flip else moved), label

    if seed is not None:
        pairs = pairs.shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    if seed is not None and (recipe.pad or recipe.flip):
        ready = pairs.enumerate().map(varied, num_parallel_calls=tf.data.AUTOTUNE).batch(recipe.batch)
    else:
        ready = pairs.batch(recipe.batch).map(shaped, num_parallel_calls=tf.data.AUTOTUNE)  # much quicker than one by one
    return ready.prefetch(tf.data.AUTOTUNE)
