"""Weights of a Keras model held at zero, whatever training does to the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.errors import ConfigError
from harness.networks.channels import Mask
from harness.training.layers import layers_of, of_keras, trace_anew

Masks = Mapping[str, Mask]
"""Which weights of each kernel stay, by the kernel's path in the model."""


def kernels_of(model: Any) -> dict[str, Any]:
    """Return the kernels of a Keras model's convolutions and dense layers by their paths, those of models within it too."""
    return {variable.path: variable for layer in layers_of(model) for variable in kernels_in(layer)}


def hold(model: Any, masks: Masks) -> None:
    """Set the weights that do not stay to zero, and keep them there while the model is trained."""
    import tensorflow as tf

    kernels = kernels_of(model)
    for path, mask in masks.items():
        kernel = kernels[path]
        kernel.assign(np.where(mask, kernel.numpy(), 0.0))
        before = kernel.constraint.before if isinstance(kernel.constraint, _Held) else kernel.constraint
        # An optimizer applies it after every step.
        kernel.constraint = _Held(tf.constant(mask.astype(np.float32)), before)
    trace_anew(model)


def release(model: Any) -> None:
    """Let training change all weights again, within the constraints that they had."""
    for kernel in kernels_of(model).values():
        if isinstance(kernel.constraint, _Held):
            kernel.constraint = kernel.constraint.before
    trace_anew(model)


class _Held:
    """Zeros that stay, after the constraint that was there `before`."""

    def __init__(self, kept: Any, before: Any) -> None:
        self._kept = kept
        self.before = before

    def __call__(self, values: Any) -> Any:
        return (values if self.before is None else self.before(values)) * self._kept


def zeros_of(model: Any) -> dict[str, Mask]:
    """Return the masks by which the weights that are zero now stay so."""
    return {path: kernel.numpy() != 0 for path, kernel in kernels_of(model).items()}


def shares_of(target: float, rounds: int) -> tuple[float, ...]:
    """Return the share of weights to keep after each round, the last one `target`: each round removes as large a part of what is left."""
    return tuple(target ** ((number + 1) / rounds) for number in range(rounds))


def share_kept(masks: Masks) -> float:
    """Return the share of weights that stay."""
    return sum(int(mask.sum()) for mask in masks.values()) / sum(mask.size for mask in masks.values())


def kernels_in(layer: Any) -> list[Any]:
    """Return the kernels of a single layer, none of one that is not as Keras has it."""
    from keras import layers

    if not of_keras(layer):
        return []
    if isinstance(layer, layers.SeparableConv2D):
        return [layer.depthwise_kernel, layer.pointwise_kernel]
    return [layer.kernel] if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense) else []


def left_whole(model: Any) -> list[str]:
    """Return the names of layers with weights that could be removed but for their kind, which is not known."""
    return [layer.name for layer in layers_of(model) if not kernels_in(layer) and any(len(one.shape) > 1 for one in layer.weights)]


def check_kernels(model: Any) -> None:
    """Raise ConfigError where a model has no kernel that could be pruned."""
    if not kernels_of(model):
        raise ConfigError(f"{model.name} has no convolution or dense layer whose weights could be removed", "see README, Pruning")
