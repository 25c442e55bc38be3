from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

# Runs on a shared machine pause; an example that took long is no failure.
hypothesis.settings.register_profile("harness", deadline=None)
hypothesis.settings.load_profile("harness")

# A shell's background jobs ignore it, and so would what they start: the tests that interrupt a command want it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _apart_from_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests off the user's cache and inventory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("HARNESS_DEVICES", raising=False)
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(scope="session")
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
