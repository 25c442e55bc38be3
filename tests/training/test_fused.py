"""Batch normalizations that train by the fused operation, held against those of Keras."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from harness.training.fused import fused_norms

NORMS: tuple[dict[str, Any], ...] = ({}, {"scale": False}, {"center": False}, {"trainable": False}, {"axis": 1}, {"epsilon": 0.1})


def network(keras: Any) -> Any:
    """Return a small network: a branch for each of the options, with a model inside and a norm of a dense layer, which is not fused."""
    keras.utils.set_random_seed(3)
    given = keras.Input((6, 5, 3))
    branches = []
    for norm in NORMS:
        made = keras.layers.Conv2D(4, 3, use_bias=False)(given)
        branches.append(keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.8, **norm)(made)))
    inner = keras.Sequential([keras.Input((4, 3, 24)), keras.layers.Conv2D(5, 1), keras.layers.BatchNormalization(momentum=0.8)])
    made = keras.layers.Flatten()(inner(keras.layers.Concatenate()(branches)))
    return keras.Model(given, keras.layers.BatchNormalization(momentum=0.8)(keras.layers.Dense(2)(made)))


def trained(keras: Any, *, fused: bool) -> Any:
    """Return the network after a few steps."""
    model = network(keras)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    draws = np.random.default_rng(0)
    x, y = draws.normal(2, 3, (32, 6, 5, 3)).astype("float32"), draws.normal(size=(32, 2)).astype("float32")
    with fused_norms(model) if fused else nullcontext():
        model.fit(x, y, batch_size=16, epochs=5, shuffle=False, verbose=0)
    return model


def test_trains_as_keras_does(keras: Any) -> None:
    usual, found = (trained(keras, fused=fused) for fused in (False, True))
    for one, other in zip(usual.weights, found.weights, strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=2e-3, atol=2e-4, err_msg=other.path)
    assert not any("call" in vars(layer) for layer in found.layers)


def test_the_fused_operation_is_what_trains(keras: Any) -> None:
    import tensorflow as tf

    model = network(keras)
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))

    def operations() -> set[str]:
        traced = tf.function(lambda x: norm(x, training=True)).get_concrete_function(tf.TensorSpec((2, 4, 3, 4)))
        return {one.type for one in traced.graph.get_operations()}

    with fused_norms(model):
        assert "FusedBatchNormV3" in operations()
    assert "FusedBatchNormV3" not in operations()


def test_a_model_is_as_it_was_after_an_error(keras: Any) -> None:
    model = network(keras)
    inner = next(layer for layer in model.layers if isinstance(layer, keras.Sequential))
    model = keras.Model(model.inputs, [*model.outputs, inner.layers[-1](keras.layers.Conv2D(5, 1)(model.inputs[0]))])
    with pytest.raises(KeyboardInterrupt), fused_norms(model):
        raise KeyboardInterrupt
    assert not any("call" in vars(layer) for layer in model.layers)
