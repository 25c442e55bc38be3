"""Weights carried over from a Keras model that `build_keras` made, batch norm folded in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ConversionError

Floats = npt.NDArray[np.float32]
_HINT = "pass the model that build_keras made of this network"


class CarriedWeights:
    """The weights of a Keras model's layers, as `direct.write_network` asks for them: ConversionError where they are another network's."""

    def __init__(self, model: Any) -> None:
        self._layers = {layer.name: layer for layer in model.layers}

    def kernel(self, node: int, shape: tuple[int, ...], fan_in: int) -> Floats:  # noqa: ARG002 - as random weights need it
        """Return the kernel of a graph's node in TFLite's layout, scaled by its batch norm."""
        for name, arranged in (("convolution", _convolution), ("depthwise", _depthwise), ("dense", np.transpose)):
            layer = self._layers.get(f"{node}_{name}")
            if layer is not None:
                numbers = _numbers(layer.kernel)
                if numbers.size != math.prod(shape):
                    raise ConversionError(f"layer {layer.name} has a kernel of {numbers.shape}, the network one of {shape}", _HINT)
                kernel = arranged(numbers).reshape(shape)
                scale = self._scale(node)
                if scale is None:
                    return np.ascontiguousarray(kernel, np.float32)
                # A depthwise kernel has its channels last, a convolution's its filters first.
                return np.asarray(kernel * (scale if name == "depthwise" else scale.reshape(-1, 1, 1, 1)), np.float32)
        raise ConversionError(f"the model has no layer for operation {node} of the network", _HINT)

    def bias(self, node: int, size: int) -> Floats:
        """Return the bias of a graph's node: that of its batch norm where it has one."""
        scale = self._scale(node)
        if scale is not None:
            norm = self._layers[f"{node}_norm"]
            return np.asarray(_numbers(norm.beta) - _numbers(norm.moving_mean) * scale, np.float32)
        for name in ("convolution", "depthwise", "dense"):
            layer = self._layers.get(f"{node}_{name}")
            if layer is not None and layer.bias is not None:
                return np.asarray(layer.bias.numpy(), np.float32)
        return np.zeros(size, np.float32)

    def _scale(self, node: int) -> npt.NDArray[np.float64] | None:
        norm = self._layers.get(f"{node}_norm")
        return None if norm is None else _numbers(norm.gamma) / np.sqrt(_numbers(norm.moving_variance) + norm.epsilon)


def _numbers(variable: Any) -> npt.NDArray[np.float64]:
    return np.asarray(variable.numpy(), np.float64)


def _convolution(kernel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return kernel.transpose(3, 0, 1, 2)


def _depthwise(kernel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return kernel.reshape(1, *kernel.shape[:2], -1)
