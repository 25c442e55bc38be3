"""The model that is to be pruned: a .keras file as it is, or a network of the zoo with as many classes as the data have."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.convert.load import load_keras_file
from harness.convert.source import ACCEPTED, Source, resolve
from harness.errors import ConfigError, ConversionError
from harness.networks.blocks import DenseLayer
from harness.networks.keras_build import build_keras
from harness.networks.network import Network
from harness.prune.outcome import network_of
from harness.training.backend import load_keras
from harness.training.data import DataSet
from harness.training.layers import layers_of

GIVEN = "give a .keras file, or a network's name: harness models"
OWN_CODE = (
    "save it again if it is damaged; one with layers of its own is pruned from Python, where keras.saving.register_keras_serializable "
    "knows them: harness.prune.study.run_study(model, ...)"
)


def model_given(text: str, data: DataSet, seed: int = 0) -> tuple[Any, bool]:
    """Return a Keras model by a file's path or a network's name, and whether it is trained already: a file is taken to be.

    Raises ConfigError for what is neither, and for a model that is not of float32, and ConversionError for a file that Keras cannot read.
    """
    try:
        source = resolve(text)
    except ConfigError as error:
        raise ConfigError(error.message, GIVEN if error.hint == ACCEPTED else error.hint) from error
    if source.network is None and source.kind != "keras":
        raise ConfigError(f"{text} is no model that can be pruned", GIVEN)
    if source.network is not None:
        load_keras()
        return build_keras(with_classes(source.network, data.classes), seed=seed), False
    return _loaded(source), True


def network_given(text: str) -> Network:
    """Return the network that the Keras model of a file is, as its prunings call it; raises what `model_given` does of one."""
    return network_of(_loaded(resolve(text)), called_by(text))


def _loaded(source: Source) -> Any:
    load_keras()
    try:
        model = load_keras_file(source)
    except ConversionError as error:
        raise ConversionError(error.message, OWN_CODE) from error
    for layer in layers_of(model):
        if layer.weights and layer.dtype_policy.name != "float32":
            what = f"{source.path} computes in {layer.dtype_policy.name} ({layer.name})"
            raise ConfigError(what, "build it in float32, and give it these weights")
    return model


def called_by(text: str) -> str:
    """Return what a model is called in the names of files: by the name of its own, or as a network's name has it."""
    path = Path(text).expanduser()
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem if path.exists() else text)


def with_classes(network: Network, classes: int) -> Network:
    """Return a network that tells so many classes; raises ConfigError where it does not end in a dense layer."""
    *rest, last = network.blocks
    if not isinstance(last, DenseLayer):
        raise ConfigError(f"{network.name} does not end in a dense layer, which tells classes", "give it one")
    return replace(network, blocks=(*rest, replace(last, units=classes)))
