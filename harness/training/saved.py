"""Keras models in files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.files import whole_file


def save_model(model: Any, path: Path) -> Path:
    """Write a Keras model to a .keras file, whole or not at all, and return the path.

    How it was trained last is not kept: whoever loads it compiles it with a loss and metrics of their own.
    """
    with whole_file(path) as draft, warnings.catch_warnings(), _uncompiled(model):
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras hands numpy its variables
        model.save(draft)
    return path


@contextmanager
def _uncompiled(model: Any) -> Iterator[None]:
    if not model.compiled:
        yield
        return
    optimizer = model.optimizer
    model.compiled, model.optimizer = False, None
    try:
        yield
    finally:
        model.compiled, model.optimizer = True, optimizer


def load_model(path: Path) -> Any:
    """Return the model of a file that `save_model` wrote; raises ConfigError where it is gone, or has layers that Keras does not know."""
    import keras

    if not path.exists():
        raise ConfigError(f"{path} is gone, which was made before", "name another folder")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        hint = "layers of one's own are known by keras.saving.register_keras_serializable; a Lambda never is"
        raise ConfigError(f"{path} cannot be read back: {error}", hint) from error
