"""Keras on TensorFlow, for what is trained in this process: controllers and children. On a GPU where there is one."""

from __future__ import annotations

import os

from harness.errors import ConfigError


def load_keras() -> None:
    """Load Keras; raises ConfigError where it runs on another backend than TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # by itself only on some CPUs; on one with AVX2 a step took 0.47 s instead of 0.76
    import keras
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        # A process would take all of its memory, and leave none to the children that are trained beside it.
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, True)
    tf.get_logger().setLevel("ERROR")  # it warns of every function that is traced anew, and each candidate has its own
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(f"Keras runs on {keras.backend.backend()}", "training needs TensorFlow: set KERAS_BACKEND=tensorflow")
