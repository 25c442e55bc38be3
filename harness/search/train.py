"""Children really trained: the quality of a candidate is its accuracy on held-out data after a few epochs (proxy training)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.errors import ConfigError
from harness.networks.blocks import DenseLayer
from harness.networks.network import Network
from harness.networks.space import Space, Tokens
from harness.training.data import DataSet
from harness.training.fit import Recipe, Trained, fit, within_memory


class Trainer:
    """Trains candidates of a space on a data set. Called with tokens it returns their quality: the accuracy from 0 to 1."""

    def __init__(self, space: Space, data: DataSet, recipe: Recipe, seed: int = 0) -> None:
        """Adapt the space to the classes of the data; raises ConfigError where they do not fit together."""
        self._space = adapted(space, data)
        self._data = data
        self._recipe = recipe
        self._seed = seed

    def __call__(self, tokens: Tokens) -> float:
        """Return the best accuracy of the last epochs; raises TrainingFailed where training diverges or does not fit into memory."""
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
    """Return the network as a Keras model, built and trained by a recipe; raises what `fit` does."""
    from harness.training.backend import load_keras

    load_keras()
    import keras

    from harness.networks.keras_build import build_keras

    keras.backend.clear_session(free_memory=True)
    with within_memory():
        model = build_keras(network, seed=seed)
    return fit(model, data, recipe, seed, tested=tested, each=each)
