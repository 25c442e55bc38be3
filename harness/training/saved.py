"""Keras models in files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from harness.files import whole_file


def save_model(model: Any, path: Path) -> Path:
    """Write a Keras model to a .keras file, whole or not at all, and return the path."""
    with whole_file(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras hands numpy its variables
        model.save(draft)
    return path


def load_model(path: Path) -> Any:
    """Return the model of a file that `save_model` wrote."""
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)
