"""Optimal Brain Damage on a small network of MNIST: its saliency beside the true change of the loss, and beside magnitude.

The network reads digits of 7x7 pixels. It is trained, and brought to a minimum of the loss by L-BFGS; then every weight is set to zero
by itself, and weights are removed by saliency, by saliency computed anew after each tenth of them, and by magnitude, without training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import spearmanr

from benchmarks import figures
from harness.prune.masks import kernels_of
from harness.prune.saliency import DIAGONALS, least_salient, saliencies
from harness.training.backend import load_keras
from harness.training.data import data_named
from harness.training.fit import Recipe, accuracy_of, fed, fit
from harness.training.saved import load_model, save_model

UNITS = 20
POOLED = 4
"""So many pixels to a side become one: a network of 1,180 weights is still away from no loss at all."""

ITERATIONS = 2000
ORDERS = ("saliency", "rounds", "magnitude")
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
GOAL = 0.95
RECIPE = Recipe(batch=256, learning_rate=0.1, weight_decay=0.0, label_smoothing=0.0, flip=False, pad=0)
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Train, remove, and compare."""
    options = figures.arguments(__doc__, folder="../shared/data", epochs=40, images=10_000)
    settings = {"epochs": options.epochs, "images": options.images, "units": UNITS, "pooled": POOLED}
    state = figures.State("brain_damage", options, **{name: str(value) for name, value in settings.items()})
    load_keras()
    data = data_named(str(Path(options.folder) / "mnist.npz"))
    data = replace(data, train=(data.train[0][: options.images], data.train[1][: options.images]))
    images = np.concatenate([batch for batch, _ in fed(data.train, data.classes, (28, 28, 1), RECIPE).as_numpy_iterator()])
    labels = data.train[1]
    path = state.folder / "model.keras"
    if not state.rows("trained"):
        model = small(data.classes)
        with figures.turn():
            fit(model, data, replace(RECIPE, epochs=options.epochs))
            slope = to_minimum(model, images, labels)
        save_model(model, path)
        state.add("trained", accuracy=accuracy_of(model, data.test, data.classes, RECIPE), slope=slope)
    model = load_model(path)
    if not state.rows("removed"):
        with figures.turn():
            compare(state, model, images, labels)
    if not state.rows("in rounds"):
        with figures.turn():
            in_rounds(state, model, images, labels)
    correlations = {row["how"]: row["correlation"] for row in state.rows("correlation")}
    losses = {**state.rows("removed")[0], **state.rows("in rounds")[0]}
    figures.table(
        ("weights kept", "loss by saliency", "the same, in rounds", "loss by magnitude"),
        [
            (f"{share:.0%}", *(f"{value:.4f}" for value in values))
            for share, *values in zip(SHARES, *(losses[by] for by in ORDERS), strict=True)
        ],
    )
    guessed = float(np.log(data.classes))
    pairs = list(zip(losses["saliency"], losses["magnitude"], strict=True))
    later = all(one <= other for one, other in pairs)
    doubled = {
        by: next((share for share, loss in zip(SHARES, losses[by], strict=True) if loss > 2 * losses["whole"]), 0.0) for by in ORDERS
    }
    reached = {by: min((share for share, loss in zip(SHARES, losses[by], strict=True) if loss < guessed), default=1.0) for by in ORDERS}
    smaller = sum(one > other for one, other in pairs)
    figures.finish(
        options,
        figure="rank correlation "
        + ", ".join(f"{how} {value:.3f}" for how, value in correlations.items())
        + f"; the loss doubles at {doubled['saliency']:.0%} of the weights (in rounds {doubled['rounds']:.0%}), and is below a guess's "
        f"with {reached['saliency']:.0%} ({reached['rounds']:.0%})",
        compared=f"the true change of the loss, weight by weight ({losses['count']}); by magnitude it doubles at "
        f"{doubled['magnitude']:.0%}, and is below a guess's with {reached['magnitude']:.0%}; where all are ruined it is smaller at "
        f"{smaller} of {len(SHARES)} shares",
        goal=f"{GOAL} or more by the exact diagonal; the loss rises later than with magnitude",
        met=correlations["exact"] >= GOAL and later,
        commits=state.commits(),
    )


def small(classes: int) -> Any:
    """Return the network."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.AveragePooling2D(POOLED),
            layers.Flatten(),
            layers.Dense(UNITS, activation="tanh", name="first"),
            layers.Dense(classes, name="second"),
        ]
    )


def to_minimum(model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Bring a model to a minimum of the loss; return the largest slope that is left."""
    import keras
    import tensorflow as tf

    told = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    values = [weight.value for weight in model.trainable_weights]
    ends = np.cumsum([int(np.prod(value.shape)) for value in values])[:-1]

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def slopes() -> Any:
        with tf.GradientTape() as tape:
            loss = told(labels, model(images, training=False))
        return loss, tape.gradient(loss, values)

    def at(weights: Floats) -> tuple[float, Floats]:
        for value, part in zip(values, np.split(weights, ends), strict=True):
            value.assign(part.reshape(value.shape).astype(np.float32))
        loss, found = slopes()
        return float(loss), np.concatenate([part.numpy().ravel() for part in found]).astype(np.float64)

    start = np.concatenate([value.numpy().ravel() for value in values]).astype(np.float64)
    found = minimize(at, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS})
    return float(np.abs(at(found.x)[1]).max())


def compare(state: figures.State, model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
    """Keep how saliencies rank weights beside the true change of the loss, and the losses by saliency and magnitude."""
    kernels = kernels_of(model)
    whole = loss(model, images, labels)
    changes: list[float] = []
    for kernel in kernels.values():
        weights = kernel.numpy()
        for place in np.ndindex(weights.shape):
            without = weights.copy()
            without[place] = 0
            kernel.assign(without)
            changes.append(loss(model, images, labels) - whole)
        kernel.assign(weights)
    by: dict[str, dict[str, Floats]] = {how: saliencies(model, images, labels, how) for how in DIAGONALS}
    for how, found in by.items():
        told = np.concatenate([found[path].ravel() for path in kernels])
        state.add("correlation", how=how, correlation=float(spearmanr(told, changes).statistic))
    weights = {path: kernel.numpy() for path, kernel in kernels.items()}
    every = {path: np.abs(values).astype(np.float64) for path, values in weights.items()}
    losses: dict[str, list[float]] = {"saliency": [], "magnitude": []}
    for share in SHARES:
        for name, ranked in (("saliency", by["exact"]), ("magnitude", every)):
            for path, mask in least_salient(ranked, share).items():
                kernels[path].assign(np.where(mask, weights[path], 0.0))
            losses[name].append(loss(model, images, labels))
            for path, values in weights.items():
                kernels[path].assign(values)
    state.add("removed", whole=whole, count=len(changes), **losses)


def in_rounds(state: figures.State, model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
    """Keep the losses where the saliency of what is left is computed anew for each share."""
    kernels = kernels_of(model)
    masks = None
    losses = []
    for share in SHARES:
        masks = least_salient(saliencies(model, images, labels, "gauss-newton"), share, masks)
        for path, mask in masks.items():
            kernels[path].assign(np.where(mask, kernels[path].numpy(), 0.0))
        losses.append(loss(model, images, labels))
    state.add("in rounds", rounds=losses)


def loss(model: Any, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean cross-entropy, computed in double precision: most weights change it by less than a float tells."""
    side = images.shape[1] // POOLED
    small_images = images.astype(np.float64).reshape(len(images), side, POOLED, side, POOLED).mean(axis=(2, 4)).reshape(len(images), -1)
    first, second = ([weight.numpy().astype(np.float64) for weight in model.get_layer(name).weights] for name in ("first", "second"))
    logits = np.tanh(small_images @ first[0] + first[1]) @ second[0] + second[1]
    logits -= logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))


if __name__ == "__main__":
    main()
