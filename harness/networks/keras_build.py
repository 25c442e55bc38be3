"""Networks as Keras models that can be trained, layer by layer what their graphs say."""

from __future__ import annotations

import math
import re
from typing import Any

from harness.networks import graph as g
from harness.networks.network import Network, Training


def build_keras(network: Network, *, seed: int = 0) -> Any:
    """Return the Keras model of a network, its first weights drawn from a seed. Loads TensorFlow.

    The input is a batch of feature maps of the network's shape. Layers are named by the node of `network.graph()` that they compute:
    `3_convolution`, its batch norm `3_norm`, its activation `3_activation`.
    """
    import keras

    graph, output = network.graph()
    made = [keras.Input(shape, name="input") for shape in graph.inputs]
    builder = _Builder(network.training, seed)
    for number, node in enumerate(graph.nodes):
        made.append(builder.node(number, node, [made[position] for position in node.inputs]))
    # TensorFlow takes few characters in a name, and fewer as the first.
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", network.name).lstrip("-_")
    return keras.Model(made[0], made[output], name=name or "network")


class _Builder:
    """Makes layers, the weights of each from a seed of its own."""

    def __init__(self, training: Training, seed: int) -> None:
        self._training = training
        self._seed = seed

    def node(self, number: int, node: g.Node, inputs: list[Any]) -> Any:
        """Return what the layers of one node give."""
        from keras import layers

        operation = node.operation
        match operation:
            case g.Convolution():
                return self._normed(
                    number,
                    layers.Conv2D(
                        operation.filters,
                        operation.kernel,
                        operation.stride,
                        operation.padding,
                        groups=operation.groups,
                        use_bias=not operation.norm,
                        kernel_initializer=self._initializer(number),
                        name=f"{number}_convolution",
                    )(inputs[0]),
                    operation.norm,
                    operation.activation,
                )
            case g.DepthwiseConvolution():
                made = layers.DepthwiseConv2D(
                    operation.kernel,
                    operation.stride,
                    operation.padding,
                    operation.multiplier,
                    use_bias=operation.bias and not operation.norm,
                    depthwise_initializer=self._depthwise_initializer(number, operation),
                    name=f"{number}_depthwise",
                )(inputs[0])
                return self._normed(number, made, operation.norm, operation.activation)
            case g.Dense():
                made = layers.Dense(operation.units, kernel_initializer=self._initializer(number), name=f"{number}_dense")(inputs[0])
                return _activated(made, operation.activation, f"{number}_activation")
            case g.Pooling():
                kind = layers.MaxPooling2D if operation.reduction == "max" else layers.AveragePooling2D
                return kind(operation.kernel, operation.stride, operation.padding, name=f"{number}_pooling")(inputs[0])
            case g.GlobalPooling():
                return layers.GlobalAveragePooling2D(keepdims=operation.keep, name=f"{number}_global_pooling")(inputs[0])
            case g.Flatten():
                return layers.Flatten(name=f"{number}_flatten")(inputs[0])
            case g.Activate():
                return _activated(inputs[0], operation.activation, f"{number}_activation")
            case g.Dropout():
                return layers.Dropout(operation.rate, seed=self._seed + number, name=f"{number}_dropout")(inputs[0])
            case g.Add():
                return _activated(layers.Add(name=f"{number}_add")(inputs), operation.activation, f"{number}_activation")
            case g.Multiply():
                return layers.Multiply(name=f"{number}_multiply")(inputs)
            case g.Concatenate():
                return layers.Concatenate(name=f"{number}_concatenate")(inputs)
            case g.Pad():
                return layers.ZeroPadding2D((operation.rows, operation.columns), name=f"{number}_pad")(inputs[0])
            case g.Crop():
                return layers.Cropping2D(((operation.rows, 0), (operation.columns, 0)), name=f"{number}_crop")(inputs[0])
            case _:
                raise AssertionError(operation)

    def _normed(self, number: int, made: Any, norm: bool, activation: g.Activation) -> Any:
        from keras import layers

        if norm:
            momentum, epsilon = self._training.norm_momentum, self._training.norm_epsilon
            made = layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=f"{number}_norm")(made)
        return _activated(made, activation, f"{number}_activation")

    def _initializer(self, number: int) -> Any:
        from keras import initializers

        seed = self._seed + number
        match self._training.initializer:
            case "he_normal":
                return initializers.HeNormal(seed)
            case "he_normal_fan_out":
                return initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed)
            case "glorot_uniform":
                return initializers.GlorotUniform(seed)
            case "truncated_normal_0.09":
                return initializers.TruncatedNormal(stddev=0.09, seed=seed)
            case "normal_0.01":
                return initializers.RandomNormal(stddev=0.01, seed=seed)

    def _depthwise_initializer(self, number: int, operation: g.DepthwiseConvolution) -> Any:
        """Return the initializer of a depthwise kernel, whose fans Keras would take for those of a whole convolution."""
        from keras import initializers

        if self._training.initializer in ("he_normal", "he_normal_fan_out"):
            return initializers.RandomNormal(stddev=math.sqrt(2 / math.prod(operation.kernel)), seed=self._seed + number)
        return self._initializer(number)


def _activated(made: Any, activation: g.Activation, name: str) -> Any:
    """Return an activation; the hard ones are written as MobileNetV3's authors wrote them, which TFLite's converter recognizes."""
    from keras import layers

    match activation:
        case "linear":
            return made
        case "relu":
            return layers.ReLU(name=name)(made)
        case "relu6":
            return layers.ReLU(6.0, name=name)(made)
        case "hard_sigmoid":
            return layers.ReLU(6.0, name=name)(made + 3.0) * (1.0 / 6.0)
        case "hard_swish":
            return made * (layers.ReLU(6.0, name=name)(made + 3.0) * (1.0 / 6.0))
        case "sigmoid" | "softmax":
            return layers.Activation(activation, name=name)(made)
