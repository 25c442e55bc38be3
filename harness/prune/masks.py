"""Weights of a Keras model held at zero, whatever training does to the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Masks = Mapping[str, Bools]
"""Which weights of each kernel stay, by the kernel's path in the model."""


def kernels_of(model: Any) -> dict[str, Any]:
    """Return the kernels of a Keras model's convolutions and dense layers by their paths, those of models within it too."""
    return {variable.path: variable for layer in layers_of(model) for variable in _kernels(layer)}


def layers_of(model: Any) -> Iterator[Any]:
    """Yield the layers of a Keras model that hold no others, those of models within it too."""
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from layers_of(layer)
        else:
            yield layer


def hold(model: Any, masks: Masks) -> None:
    """Set the weights that do not stay to zero, and keep them there while the model is trained."""
    import tensorflow as tf

    kernels = kernels_of(model)
    for path, mask in masks.items():
        kernel = kernels[path]
        kernel.assign(np.where(mask, kernel.numpy(), 0.0))
        kept = tf.constant(mask.astype(np.float32))
        # An optimizer applies it after every step.
        kernel.constraint = lambda values, kept=kept: values * kept


def release(model: Any) -> None:
    """Let training change all weights again."""
    for kernel in kernels_of(model).values():
        kernel.constraint = None


def zeros_of(model: Any) -> dict[str, Bools]:
    """Return the masks by which the weights that are zero now stay so."""
    return {path: kernel.numpy() != 0 for path, kernel in kernels_of(model).items()}


def share_kept(masks: Masks) -> float:
    """Return the share of weights that stay."""
    return sum(int(mask.sum()) for mask in masks.values()) / sum(mask.size for mask in masks.values())


def _kernels(layer: Any) -> list[Any]:
    from keras import layers

    if isinstance(layer, layers.SeparableConv2D):
        return [layer.depthwise_kernel, layer.pointwise_kernel]
    return [layer.kernel] if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense) else []
