from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.networks.blocks import Conv, DenseLayer, Depthwise, DropoutLayer, GlobalPool, MBConv
from harness.networks.catalogue import network_files, recipe_named, space_files, space_named
from harness.networks.keras_build import build_keras
from harness.networks.network import Initializer, Network, Training

pytestmark = pytest.mark.usefixtures("keras")

SMALLEST = {"alexnet": 67, "lenet_300_100": 28}
"""The resolution below which a network's strides leave nothing, where that is not 32."""
ELSEWHERE = {"lenet_5", "mobilenet_v2", "mobilenet_v3_small", "nasnet_a_mobile", "inception_v2"}
"""Networks that tests/convert/test_direct.py builds."""


def check(network: Network) -> None:
    """Hold a network's Keras model to what the network says."""
    from keras import layers

    model = build_keras(network)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == network.parameters
    assert model.output_shape == (None, *network.shapes[-1])
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    training = network.training
    assert {(norm.momentum, norm.epsilon) for norm in norms} <= {(training.norm_momentum, training.norm_epsilon)}


@pytest.mark.parametrize("name", sorted(set(network_files()) - ELSEWHERE))
def test_the_model_of_a_network_has_the_parameters_that_are_counted(name: str) -> None:
    check(recipe_named(name).network(name, resolution=SMALLEST.get(name, 32)))


@pytest.mark.parametrize("name", sorted(space_files()))
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32))
def test_the_model_of_a_candidate_has_the_parameters_that_are_counted(name: str, seed: int) -> None:
    space = space_named(name)
    check(space.network(space.sample(random.Random(seed))))


LAYERS = (Conv(64, (3, 3)), Depthwise((3, 3), multiplier=4), GlobalPool(), DenseLayer(100, "softmax"))
CHANNELS = 16


@pytest.mark.parametrize(
    ("initializer", "convolution", "depthwise", "dense"),
    [
        ("he_normal", (2 / (9 * CHANNELS)) ** 0.5, (2 / 9) ** 0.5, (2 / 256) ** 0.5),
        ("he_normal_fan_out", (2 / (9 * 64)) ** 0.5, (2 / 9) ** 0.5, (2 / 100) ** 0.5),
        ("glorot_uniform", (2 / (9 * (CHANNELS + 64))) ** 0.5, None, (2 / 356) ** 0.5),
        ("truncated_normal_0.09", 0.09 * 0.88, 0.09 * 0.88, 0.09 * 0.88),
        ("normal_0.01", 0.01, 0.01, 0.01),
    ],
)
def test_first_weights_and_batch_norm_are_those_of_the_training(
    initializer: Initializer, convolution: float, depthwise: float | None, dense: float
) -> None:
    training = Training(norm_momentum=0.7, norm_epsilon=0.002, initializer=initializer)
    model = build_keras(Network("net", (8, 8, CHANNELS), LAYERS, training))
    for layer, deviation in (("0_convolution", convolution), ("1_depthwise", depthwise), ("3_dense", dense)):
        if deviation is not None:
            assert float(np.std(model.get_layer(layer).kernel.numpy())) == pytest.approx(deviation, rel=0.08)
    for number in (0, 1):
        norm = model.get_layer(f"{number}_norm")
        assert (norm.momentum, norm.epsilon) == (0.7, 0.002)


def test_the_same_seed_gives_the_same_weights() -> None:
    def weights(seed: int) -> list[Any]:
        found: list[Any] = build_keras(Network("net", (8, 8, CHANNELS), LAYERS), seed=seed).get_weights()
        return found

    assert all(np.array_equal(one, same) for one, same in zip(weights(1), weights(1), strict=True))
    assert not np.array_equal(weights(1)[0], weights(2)[0])


def test_a_step_of_training_changes_every_weight() -> None:
    block = MBConv(32, expansion=3, se=0.25, gate="hard_sigmoid", activation="hard_swish")
    model = build_keras(
        Network("net", (8, 8, 3), (Conv(32, (3, 3), activation="relu"), block, GlobalPool(), DropoutLayer(0.2), LAYERS[-1]))
    )
    before = model.get_weights()
    generator = np.random.default_rng(0)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(generator.random((8, 8, 8, 3), np.float32), generator.integers(0, 100, 8), batch_size=8, epochs=1, verbose=0)
    assert all(np.isfinite(after).all() for after in model.get_weights())
    assert [one.shape for one, after in zip(before, model.get_weights(), strict=True) if np.array_equal(one, after)] == []
