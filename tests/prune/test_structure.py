"""Channels really removed: what is left computes what the masked model does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.prune.structure import Kept, Structure
from tests.prune.images import convolutional

pytestmark = pytest.mark.usefixtures("keras")

NAMES = ("lenet_5", "mobilenet_v3_small:width=0.35,resolution=32")
"""Networks with most kinds of ties between channels; test_morphnet has concatenations, `benchmarks.pruned_shapes` the whole zoo."""


def at_random(structure: Structure, seed: int = 0) -> Kept:
    """Return masks that keep about half of each group's channels, one at least."""
    generator = np.random.default_rng(seed)
    kept = {}
    for number, width in enumerate(structure.widths):
        mask = generator.random(width) < 0.5
        mask[generator.integers(width)] = True
        kept[number] = mask
    return kept


def statistics(model: Any, seed: int = 0) -> None:
    """Give batch norm statistics and scales as training would."""
    from keras import layers

    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])


def worst(one: Any, other: Any) -> float:
    """Return how far two models' outputs are apart on the same random images."""
    images = np.random.default_rng(1).random((4, *one.input_shape[1:]), np.float32)
    first, second = (model.predict(images, verbose=0) for model in (one, other))
    return float(np.abs(first - second).max())


def test_parameters_are_those_of_the_model_at_any_widths() -> None:
    import keras
    from keras import layers

    given = keras.Input((8, 8, 3))
    made = layers.BatchNormalization()(layers.Conv2D(8, 3)(given))
    made = layers.PReLU(shared_axes=[1, 2])(layers.SeparableConv2D(12, 3, use_bias=False)(made))
    made = layers.Conv2D(6, 1, dilation_rate=2, name="left_whole")(layers.BatchNormalization(scale=False)(made))
    made = layers.DepthwiseConv2D(2)(layers.Conv2D(10, 1)(made))
    model = keras.Model(given, layers.Dense(4, activation="softmax")(layers.Flatten()(made)))
    structure = Structure(model)
    for widths in (structure.widths, (3, 12, 7)):
        trained = structure.resized(widths)
        moving = sum(layer.moving_mean.shape[0] for layer in trained.layers if isinstance(layer, layers.BatchNormalization))
        assert structure.parameters(widths) == trained.count_params() - 2 * moving


@pytest.mark.parametrize("name", NAMES)
def test_a_shrunk_model_computes_what_the_masked_one_does(name: str) -> None:
    model = build_keras(network_named(name))
    statistics(model)
    structure = Structure(model)
    kept = at_random(structure)
    shrunk, masked = structure.shrunk(kept), structure.masked(kept)
    assert worst(shrunk, masked) <= 1e-5
    assert shrunk.count_params() < masked.count_params() == model.count_params()
    assert worst(masked, model) > 1e-5


def test_weights_that_are_kept_are_those_of_the_model() -> None:
    model = convolutional()
    structure = Structure(model)
    number = next(index for index in range(len(structure.groups)) if structure.name(index) == "inner")
    mask = np.arange(24) % 3 > 0
    shrunk = structure.shrunk({number: mask})
    assert (shrunk.get_layer("inner").kernel.numpy() == model.get_layer("inner").kernel.numpy()[..., mask]).all()
    assert (shrunk.get_layer("outer").kernel.numpy() == model.get_layer("outer").kernel.numpy()[:, :, mask]).all()
    assert worst(structure.shrunk({}), model) == 0


def test_layers_that_are_added_lose_the_same_channels() -> None:
    structure = Structure(convolutional())
    assert [(structure.name(number), group.channels) for number, group in enumerate(structure.groups)] == [
        ("stem and 1 more", 16),
        ("inner", 24),
    ]
    assert [[norm.name for norm in structure.norms(number)] for number in range(2)] == [["stem_norm", "outer_norm"], ["inner_norm"]]


def test_a_model_within_a_model_becomes_part_of_the_whole() -> None:
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3, name="inside"), layers.PReLU(name="prelu"), layers.Dropout(0.1)])
    given = keras.Input((8, 8, 3))
    made = layers.Reshape((1, 1, 6))(layers.GlobalMaxPooling2D()(inner(given)))
    made = layers.SeparableConv2D(5, 1, depth_multiplier=2)(made)
    model = keras.Model(given, layers.Dense(2)(layers.Flatten()(made)))
    structure = Structure(model)
    kept = at_random(structure)
    assert worst(structure.shrunk(kept), structure.masked(kept)) <= 1e-5
    assert structure.whole == ()


def test_widths_may_grow_too() -> None:
    structure = Structure(convolutional())
    wider = structure.resized([24, 40])
    assert [wider.get_layer(name).filters for name in ("stem", "inner", "outer")] == [24, 40, 24]
    assert Structure(wider).widths == (24, 40)


def test_the_model_is_left_as_it_was() -> None:
    model = convolutional()
    before = [weight.copy() for weight in model.get_weights()]
    structure = Structure(model)
    structure.shrunk(at_random(structure))
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))


def test_a_model_that_normalizes_its_input_still_does() -> None:
    import keras
    from keras import layers

    given = keras.Input((8, 8, 3))
    scaled = layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.1, 0.2, 0.3], axis=-1)(given)
    adapted = layers.Normalization(axis=-1, name="adapted")
    adapted.adapt(np.random.default_rng(0).random((50, 8, 8, 3)) * 5)
    made = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(adapted(scaled)))
    model = keras.Model(given, layers.Dense(2)(made))
    structure = Structure(model)
    assert worst(structure.masked({}), model) <= 1e-6
    assert structure.resized([8]).get_layer("adapted").get_weights()[0] == pytest.approx(adapted.get_weights()[0])
    assert structure.whole[-1] == "adapted"


def test_a_weight_that_all_channels_share_is_not_cut() -> None:
    import keras
    from keras import layers

    given = keras.Input((8, 8, 3))
    made = layers.PReLU(shared_axes=[1, 2, 3])(layers.Conv2D(6, 3)(given))
    model = keras.Model(given, layers.Dense(2)(layers.GlobalAveragePooling2D()(made)))
    structure = Structure(model)
    kept = at_random(structure)
    assert worst(structure.shrunk(kept), structure.masked(kept)) <= 1e-6
