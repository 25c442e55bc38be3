"""The model that is to be pruned: a .keras file as it is, or a network of the zoo with as many classes as the data have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.convert.load import load_keras_file
from harness.convert.source import resolve
from harness.errors import ConfigError
from harness.networks.blocks import DenseLayer
from harness.networks.keras_build import build_keras
from harness.networks.network import Network
from harness.training.data import DataSet


def model_given(text: str, data: DataSet, seed: int = 0) -> tuple[Any, bool]:
    """Return a Keras model by a file's path or a network's name, and whether it is trained already: a file is taken to be.

    Raises ConfigError for what is neither, and ConversionError for a file that Keras cannot read.
    """
    from harness.training.backend import load_keras

    load_keras()
    source = resolve(text)
    if source.network is not None:
        return build_keras(with_classes(source.network, data.classes), seed=seed), False
    if source.kind != "keras":
        raise ConfigError(f"{text} is no model that can be pruned", "give a .keras file, or a network's name")
    return load_keras_file(source), True


def with_classes(network: Network, classes: int) -> Network:
    """Return a network that tells so many classes; raises ConfigError where it does not end in a dense layer."""
    *rest, last = network.blocks
    if not isinstance(last, DenseLayer):
        raise ConfigError(f"{network.name} does not end in a dense layer, which tells classes", "give it one")
    return replace(network, blocks=(*rest, replace(last, units=classes)))
