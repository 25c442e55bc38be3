"""A pruned Keras model as a .tflite file that keeps its zeros out, for the runtime's sparse kernels."""

from __future__ import annotations

import logging
from typing import Any


def sparse_tflite(model: Any) -> bytes:
    """Return the float32 .tflite file of a Keras model, kernels that are mostly zeros stored without them.

    XNNPACK then runs 1x1 convolutions on the weights that are left (Elsen et al. 2020), where a network is made of those and little else;
    other kernels are unpacked when the file is loaded.
    """
    import tensorflow as tf

    shape = (1, *model.input_shape[1:])
    concrete = tf.function(lambda images: model(images, training=False)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="input")
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return bytes(converter.convert())
    finally:
        logger.setLevel(level)
