"""The diagonal of the Hessian, each way to compute it against the true change of the loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.errors import ConfigError
from harness.prune.masks import kernels_of
from harness.prune.saliency import Diagonal, hessian_diagonal, least_salient, saliencies
from harness.training.fit import fit
from tests.prune.images import QUICK, data, dense

pytestmark = pytest.mark.usefixtures("keras")


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, Any]:
    """Return a trained network, and images and labels as it reads them."""
    model, given = dense(units=6), data(300)
    fit(model, given, replace(QUICK, epochs=30, weight_decay=0.0), 0)
    images, labels = given.train
    return model, images.astype(np.float32) / 255, labels


def loss(model: Any, images: Any, labels: Any) -> float:
    logits = model(images, training=False).numpy().astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))


def test_the_exact_diagonal_is_that_of_finite_differences(trained: tuple[Any, Any, Any]) -> None:
    model, images, labels = trained
    found = hessian_diagonal(model, images, labels, "exact")
    for path, kernel in kernels_of(model).items():
        weights = kernel.numpy()
        for place in [(0, 0), (3, 1), (5, 2)]:
            step = 0.05
            losses = []
            for change in (-step, 0.0, step):
                moved = weights.copy()
                moved[place] += change
                kernel.assign(moved)
                losses.append(loss(model, images, labels))
            kernel.assign(weights)
            assert found[path][place] == pytest.approx((losses[0] - 2 * losses[1] + losses[2]) / step**2, rel=0.05, abs=2e-4)


@pytest.mark.parametrize(("how", "least"), [("gauss-newton", 0.9), ("hutchinson", 0.85)])
def test_an_estimate_ranks_weights_as_the_exact_diagonal_does(trained: tuple[Any, Any, Any], how: Diagonal, least: float) -> None:
    exact, estimated = (hessian_diagonal(*trained, which) for which in ("exact", how))
    for path, diagonal in exact.items():
        assert spearmanr(diagonal.ravel(), estimated[path].ravel()).statistic > least


@pytest.mark.long
def test_estimates_hold_for_convolutions() -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(4, 3, strides=3, name="convolution"),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    given = data(300)
    images = np.asarray(given.train[0] / 255, np.float32)
    exact, gauss_newton, hutchinson = (hessian_diagonal(model, images, given.train[1], how) for how in get_args(Diagonal))
    assert len(exact) == 3
    for path, diagonal in exact.items():
        # Logits are linear in each kernel by itself: there is no more to its Hessian than what Gauss-Newton computes.
        assert gauss_newton[path] == pytest.approx(diagonal, rel=1e-3, abs=1e-3 * float(diagonal.max()))
    trace, estimated = (sum(float(diagonal.sum()) for diagonal in found.values()) for found in (exact, hutchinson))
    assert estimated == pytest.approx(trace, rel=0.3)
    first = next(iter(exact))
    assert spearmanr(exact[first].ravel(), hutchinson[first].ravel()).statistic > 0.7


def test_the_least_salient_weights_cost_the_least(trained: tuple[Any, Any, Any]) -> None:
    model, images, labels = trained
    saliency = saliencies(model, images, labels, "exact")
    costs: list[float] = []
    told: list[float] = []
    before = loss(model, images, labels)
    for path, kernel in kernels_of(model).items():
        weights = kernel.numpy()
        for place in np.ndindex(weights.shape):
            without = weights.copy()
            without[place] = 0
            kernel.assign(without)
            costs.append(loss(model, images, labels) - before)
            told.append(float(saliency[path][place]))
        kernel.assign(weights)
    assert spearmanr(costs, told).statistic > 0.8


def test_so_many_weights_stay_as_are_asked_for() -> None:
    saliency = {"a": np.array([[1.0, 5.0], [3.0, 0.5]]), "b": np.array([2.0, 4.0])}
    kept = least_salient(saliency, 0.5)
    assert kept["a"].tolist() == [[False, True], [True, False]]
    assert kept["b"].tolist() == [False, True]
    fewer = least_salient(saliency, 2 / 6, {"a": np.array([[True, False], [True, True]]), "b": np.array([True, True])})
    assert fewer["a"].tolist() == [[False, False], [True, False]]


def test_a_kernel_too_large_for_the_exact_diagonal_is_named() -> None:
    with pytest.raises(ConfigError, match="first/kernel has 6400 weights: its Hessian is too large"):
        hessian_diagonal(dense(units=400), np.zeros((1, 12, 12, 1), np.float32), np.zeros(1, np.int64), "exact")
