"""Keras on TensorFlow, for what is trained in this process: controllers and children. On a GPU where there is one."""

from __future__ import annotations

import os

from harness.errors import ConfigError


def load_keras() -> None:
    """Load Keras; raises ConfigError where it runs on another backend than TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConfigError(f"Keras runs on {keras.backend.backend()}", "searches need TensorFlow: set KERAS_BACKEND=tensorflow")
