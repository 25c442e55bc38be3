"""A pruned Keras model as a .tflite file that keeps its zeros out, for the runtime's sparse kernels."""

from __future__ import annotations

from typing import Any

from harness.convert.keras_convert import quiet


def sparse_tflite(model: Any) -> bytes:
    """Return the float32 .tflite file of a Keras model, kernels that are mostly zeros stored without them.

    XNNPACK then runs 1x1 convolutions on the weights that are left (Elsen et al. 2020), where a network is made of those and little else;
    other kernels are unpacked when the file is loaded.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.input_shape[1:])
    concrete = tf.function(lambda images: model(images, training=False)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="input")
    )
    # Of a function with variables the converter would make a file without its weights, silently.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(concrete)])
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    with quiet():
        return bytes(converter.convert())
