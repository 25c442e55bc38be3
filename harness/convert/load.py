"""Loading what the user gave: a .keras or .h5 file, a SavedModel folder, a network. Loads TensorFlow."""

from __future__ import annotations

import re
import zipfile
import zlib
from typing import Any

from harness.convert.keras_convert import Traceable, traceable_keras, traceable_saved_model
from harness.convert.shapes import Shapes
from harness.convert.source import Source
from harness.errors import ConversionError
from harness.networks.keras_build import build_keras
from harness.networks.weights import spread

_CUSTOM = (
    "A model with layers of your own, or Lambda layers, cannot be rebuilt from its file. Pass instead: a SavedModel folder "
    "(model.export(FOLDER)), a .tflite file, or, from Python, the model object itself."
)
_DAMAGED = "If the file is whole, it may be from another version of Keras: save it again, or pass a SavedModel folder or a .tflite file."

# How Keras says, in sentences that vary, that a class or function is not its own: the part that names it.
_OWN_CODE = re.compile(
    r"Could not locate (class|function) '[^']*'|Unknown layer: '[^']*'|[^.\n]*a `?Lambda`? layer[^.\n]*|[^.\n]*Python lambda[^.\n]*"
)


def load(source: Source, shapes: Shapes) -> Traceable:
    """Return the model behind a source that is no .tflite file; raises ConversionError where it cannot be loaded."""
    if source.network is not None:
        model = build_keras(source.network)
        spread(model)
        return traceable_keras(model, source.name, shapes)
    if source.kind == "saved_model":
        return traceable_saved_model(_load_saved_model(source), source.name, shapes)
    return traceable_keras(load_keras_file(source), source.name, shapes)


def load_keras_file(source: Source) -> Any:
    """Return the model in a .keras or .h5 file, without running code of its own; raises ConversionError where Keras cannot read it."""
    import keras

    assert source.path is not None
    if source.path.suffix.lower() == ".keras" and not zipfile.is_zipfile(source.path):
        raise ConversionError(f"{source.name}: not a .keras file, or cut short", _DAMAGED)
    try:
        # The file's code is never run: safe_mode refuses Lambda layers, and compile=False leaves its losses and metrics alone.
        return keras.saving.load_model(str(source.path), compile=False, safe_mode=True)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, UnicodeDecodeError) as error:
        raise ConversionError(f"{source.name}: Keras cannot read the file: {_first_line(error)}", _DAMAGED) from error
    except (ValueError, TypeError, AttributeError, ImportError, NotImplementedError, RuntimeError) as error:
        own = _OWN_CODE.search(str(error))
        if own:
            raise ConversionError(f"{source.name}: the model has code of its own: {own.group().strip()}", _CUSTOM) from error
        raise ConversionError(f"{source.name}: Keras cannot load the model: {_first_line(error)}", _DAMAGED) from error


def _load_saved_model(source: Source) -> Any:
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(source.path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, tf.errors.OpError) as error:
        raise ConversionError(
            f"{source.name}: TensorFlow cannot load the SavedModel: {_first_line(error)}", "Save it again, or pass a .tflite file."
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
