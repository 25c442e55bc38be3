"""Random weights under which every layer still matters to the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from latency_agent import protocol

LOGIT_DEVIATION = 2.0
"""The standard deviation of the logits: their softmax is then neither flat nor a single one among zeros."""


def spread(model: Any) -> None:
    """Scale the weights of a Keras classifier of one input so that its activations keep their size from layer to layer.

    As initialised, deep networks shrink their activations until all inputs give the same output: then a wrong device would pass every
    check of its numbers, and denormal activations may slow it down. Scales measured on the seeded input are rounded to powers of two, so
    that the last bits of this machine's arithmetic do not reach the weights.
    """
    import keras

    weighted = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    for layer in weighted:
        kernel = layer.kernel.numpy()
        fan_in, fan_out = int(np.prod(kernel.shape[:-1])), int(np.prod(kernel.shape[:-2])) * kernel.shape[-1]
        layer.kernel.assign(kernel * np.float32(((fan_in + fan_out) / fan_in) ** 0.5))  # from Glorot's variance to He's

    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0  # the statistics become those of the one batch below
    example = protocol.seeded_input((1, *model.inputs[0].shape[1:]), "float32", 0)
    if normalizations:
        model(example, training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
        mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
        square = float(np.mean(variance + mean.astype(np.float64) ** 2))
        layer.moving_mean.assign(np.zeros_like(mean))
        layer.moving_variance.assign(np.full_like(variance, _power_of_two(square)))

    if not weighted:
        return
    last = weighted[-1]
    features = keras.Model(model.inputs[0], last.input)(example, training=False).numpy()
    activation, last.activation = last.activation, keras.activations.linear
    logits = last(features).numpy()
    last.activation = activation
    last.kernel.assign(last.kernel.numpy() * np.float32(_power_of_two(LOGIT_DEVIATION / max(1e-6, float(np.std(logits))))))


def _power_of_two(value: float) -> float:
    return float(2.0 ** round(np.log2(min(max(value, 1e-6), 1e6))))
