"""What a classifier is taken for: its last values decide on its loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.training.fit import check_fits, head_of, learning_rates, loss_of
from tests.prune.images import QUICK, data

pytestmark = pytest.mark.usefixtures("keras")


def ending(*last: Any) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((12, 12, 1)), layers.Flatten(), layers.Dense(4), *last])


def test_what_changes_no_values_is_no_end() -> None:
    import keras
    from keras import layers

    plain = ending(layers.Softmax())
    images = np.random.default_rng(0).random((8, 12, 12, 1))
    labels = keras.utils.to_categorical(np.arange(8) % 4, 4)
    wanted = float(loss_of(plain, QUICK)(labels, plain(images)))
    given = keras.Input((12, 12, 1))
    for model in (
        ending(layers.Softmax(), layers.Activation("linear", dtype="float32")),
        ending(layers.Softmax(), layers.Reshape((2, 2)), layers.Flatten()),
        keras.Model(given, layers.Identity()(ending(layers.Softmax())(given))),
    ):
        assert head_of(model) == "softmax"
        assert float(loss_of(model, QUICK)(labels, model(images))) == pytest.approx(wanted, rel=1e-5)
    assert head_of(ending()) == "linear"
    assert head_of(ending(layers.Activation("relu"))) == "relu"
    with pytest.raises(ConfigError, match="ends in a sigmoid"):
        check_fits(ending(layers.Activation("sigmoid"), layers.Flatten()), data(64))


@pytest.mark.parametrize(("steps", "rising"), [(50, 10), (7, 1), (4, 0), (1, 0)])
def test_learning_rates_are_those_of_keras_schedule(steps: int, rising: int) -> None:
    import keras

    target = {"warmup_target": 0.1, "warmup_steps": rising} if rising else {}
    schedule = keras.optimizers.schedules.CosineDecay(0.0 if rising else 0.1, steps - rising, **target)
    assert learning_rates(0.1, steps, rising) == pytest.approx([float(schedule(step)) for step in range(steps)], abs=1e-6)
