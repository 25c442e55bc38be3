"""How much the loss rises where a weight is set to zero (Optimal Brain Damage, LeCun, Denker and Solla 1989).

The saliency of a weight is half the Hessian's diagonal there times the weight squared (equation 5): at a minimum of the loss the first
order vanishes, and what weights have to do with each other is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.prune.masks import Masks, kernels_of
from harness.training.layers import layers_of

Floats = npt.NDArray[np.float64]
Diagonal = Literal["exact", "gauss-newton", "hutchinson"]
DIAGONALS: tuple[Diagonal, ...] = ("exact", "gauss-newton", "hutchinson")

MOST_EXACT = 5000
"""Weights of a kernel whose whole Hessian is computed: 100 MB."""

PROBES = 1024
_MOST_HELD = 1 << 26
"""Numbers at a time: 256 MB, of which there are several."""


def saliencies(
    model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], how: Diagonal = "gauss-newton"
) -> dict[str, Floats]:
    """Return the saliency of every weight of a Keras classifier's kernels, by the kernels' paths, in the kernels' shapes.

    It is that of the mean cross-entropy on `images` [images, height, width, channels], as the model reads them, of these `labels`.
    """
    diagonal = hessian_diagonal(model, images, labels, how)
    return {path: diagonal[path] * kernel.numpy().astype(np.float64) ** 2 / 2 for path, kernel in kernels_of(model).items()}


def hessian_diagonal(model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], how: Diagonal) -> dict[str, Floats]:
    """Return the diagonal of the Hessian of the mean cross-entropy by every weight of a Keras classifier's kernels.

    `exact` differentiates twice, for kernels of up to 5,000 weights; `gauss-newton` leaves out what the network's own curvature adds,
    which at a minimum is little, and is never negative; `hutchinson` is the mean over random signs of 1,024 products with the Hessian
    (Bekas et al. 2007): the less weights have to do with each other, the nearer it comes. Raises ConfigError where a kernel is too large
    for `exact`.
    """
    match how:
        case "exact":
            return _exact(model, images, labels)
        case "gauss-newton":
            return _gauss_newton(model, images, labels)
        case "hutchinson":
            return _hutchinson(model, images, labels)


def least_salient(saliency: Mapping[str, Floats], share: float, among: Masks | None = None) -> dict[str, npt.NDArray[np.bool_]]:
    """Return masks that keep so large a share of all weights, the most salient ones; of those `among` which the others went before."""
    kept = {path: np.ones(values.shape, dtype=np.bool_) if among is None else among[path] for path, values in saliency.items()}
    ranked = {path: np.where(kept[path], values, -np.inf) for path, values in saliency.items()}
    for values in ranked.values():
        values.ravel()[np.argmax(values)] = np.inf  # a kernel keeps a weight
    every = np.concatenate([values.ravel() for values in ranked.values()])
    count = round(share * every.size)
    order = np.argsort(-every, kind="stable")[:count]
    flat = np.zeros(every.size, dtype=np.bool_)
    flat[order] = True
    ends = np.cumsum([values.size for values in saliency.values()])[:-1]
    parts = np.split(flat, ends)
    return {path: part.reshape(values.shape) & kept[path] for part, (path, values) in zip(parts, saliency.items(), strict=True)}


def check_exact(model: Any) -> None:
    """Raise ConfigError where a kernel of a Keras model is too large for `exact`."""
    for path, kernel in kernels_of(model).items():
        if (size := math.prod(kernel.shape)) > MOST_EXACT:
            raise ConfigError(f"{path} has {size} weights: its Hessian is too large to be computed", "use gauss-newton or hutchinson")


def _exact(model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> dict[str, Floats]:
    import tensorflow as tf

    check_exact(model)
    found = {}
    for path, kernel in kernels_of(model).items():
        size = math.prod(kernel.shape)

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def diagonal(shown: Any, told: Any, value: Any = kernel.value, size: int = size) -> Any:
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    loss = _loss(model, shown, told)
                slope = tf.reshape(inner.gradient(loss, value), [-1])
            return tf.linalg.diag_part(tf.reshape(outer.jacobian(slope, value), [size, size]))

        total = np.zeros(size)
        for shown, told in _batches(images, labels, _MOST_HELD / (size * _values(model))):
            total += len(shown) / len(images) * diagonal(tf.constant(shown), tf.constant(told)).numpy()
        found[path] = total.reshape(kernel.shape)
    return found


def _gauss_newton(model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Return the diagonal of the Gauss-Newton matrix, which for cross-entropy is what the classes' own probabilities make of the slopes.

    It is the mean over images of the sum over classes of p_c (d log p_c / d w)^2 (Martens 2020, section 9).
    """
    import tensorflow as tf

    kernels = kernels_of(model)
    values = [kernel.value for kernel in kernels.values()]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def summed(shown: Any, which: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            log = tf.gather(_log_probabilities(model, shown), which, axis=1)
            weighted = tf.stop_gradient(tf.exp(0.5 * log)) * log
        return [tf.reduce_sum(slopes**2, axis=0) for slopes in tape.jacobian(weighted, values)]

    sums = [np.zeros(value.shape) for value in values]
    # Each image is a row of the Jacobian, and every row is computed with all images.
    most = min(_MOST_HELD / sum(total.size for total in sums), math.sqrt(_MOST_HELD / _values(model)))
    for shown, _ in _batches(images, labels, most):
        for which in range(model.output_shape[-1]):
            parts = summed(tf.constant(shown), tf.constant(which))
            sums = [total + part.numpy() for total, part in zip(sums, parts, strict=True)]
    return {path: total / len(images) for path, total in zip(kernels, sums, strict=True)}


def _hutchinson(model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> dict[str, Floats]:
    import tensorflow as tf

    kernels = kernels_of(model)
    values = [kernel.value for kernel in kernels.values()]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def product(shown: Any, told: Any, signs: list[Any]) -> list[Any]:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = _loss(model, shown, told)
            slopes = inner.gradient(loss, values)
            along = tf.add_n([tf.reduce_sum(slope * sign) for slope, sign in zip(slopes, signs, strict=True)])
        return [tf.convert_to_tensor(one) for one in outer.gradient(along, values)]

    generator = np.random.default_rng(0)
    sums = [np.zeros(value.shape) for value in values]
    batches = [
        (tf.constant(shown), tf.constant(told), len(shown) / len(images))
        for shown, told in _batches(images, labels, _MOST_HELD / _values(model))
    ]
    for _ in range(PROBES):
        signs = [tf.constant(generator.choice((-1.0, 1.0), value.shape), tf.float32) for value in values]
        for shown, told, share in batches:
            parts = product(shown, told, signs)
            sums = [total + share * (sign * part).numpy() for total, sign, part in zip(sums, signs, parts, strict=True)]
    return {path: total / PROBES for path, total in zip(kernels, sums, strict=True)}


def _values(model: Any) -> int:
    """Return how many values the layers of a model make of one image."""
    import keras

    made = [output for layer in layers_of(model) for output in keras.tree.flatten(layer.output)]
    return sum(math.prod(size for size in output.shape[1:] if size) for output in made)


def _batches(
    images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], most: float
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    """Yield images with their labels, so many at a time at most, and one at least."""
    at_a_time = max(1, min(len(images), int(most)))
    for start in range(0, len(images), at_a_time):
        yield images[start : start + at_a_time], labels[start : start + at_a_time]


def _loss(model: Any, images: Any, labels: npt.NDArray[np.int64]) -> Any:
    import tensorflow as tf

    logs = _log_probabilities(model, images)
    return -tf.reduce_mean(tf.gather(logs, labels, axis=1, batch_dims=1))


def _log_probabilities(model: Any, images: Any) -> Any:
    """Return the logarithms of the classes' probabilities [images, classes], whether a model ends in a softmax or in logits."""
    import tensorflow as tf

    from harness.training.fit import head_of

    told = model(images, training=False)
    return tf.math.log(told + 1e-20) if head_of(model) == "softmax" else tf.nn.log_softmax(told)
