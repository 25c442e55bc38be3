from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from harness.convert.converter import Converter


@pytest.fixture(scope="session", autouse=True)
def keras() -> Any:
    """Return Keras on TensorFlow, whose imports warn of what this project cannot change."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import tensorflow as tf

    logging.getLogger("absl").setLevel(logging.ERROR)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    return keras


@pytest.fixture(scope="session")
def converter() -> Iterator[Converter]:
    with Converter() as converter:
        yield converter
