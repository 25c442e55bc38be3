"""What a Keras model computes, as a graph of operations: which of its channels hang together, and what a device takes for it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import ConfigError
from harness.networks import graph as g
from harness.networks.foreign import Foreign, Norm
from harness.networks.fuse import fused
from harness.prune.keras_flow import run
from harness.training.layers import of_keras

_SHIFT = 3.0
_ELEMENTWISE = {"celu", "elu", "exponential", "gelu", "hard_shrink", "hard_tanh", "leaky_relu", "log_sigmoid", "mish", "selu", "silu"}
_ELEMENTWISE |= {"soft_shrink", "softplus", "softsign", "squareplus", "swish", "tanh", "tanh_shrink", "threshold"}
"""Activations of Keras that see each value by itself."""

_ALSO = {"hard_silu": "hard_swish"}

HINT = "build it of keras.Input and layers: keras.Model(inputs, outputs)"


@dataclass(frozen=True)
class Places:
    """Where a Keras layer stands in the graph: the positions of its input and of its output.

    `inner` is what stands between the two convolutions of a separable one, the output's position elsewhere.
    """

    layer: Any
    source: int
    inner: int
    output: int


@dataclass(frozen=True, eq=False)
class KerasGraph:
    """The graph of a Keras model, and what stands where in it.

    `layers` are those that are made for the channels around them, by their names; `whole` those that are not known, which stay as they
    are, as do the channels around them.
    """

    graph: g.Graph
    output: int
    layers: dict[str, Places]
    whole: tuple[str, ...]


@dataclass(frozen=True)
class _At:
    """A value of the graph; `plus` is what a hard activation has added to it so far, `capped` whether it was cut to 0..6 then."""

    position: int
    plus: float = 0.0
    capped: bool = False


def graph_of(model: Any) -> KerasGraph:
    """Return the graph of a functional or sequential Keras model with one output.

    Raises ConfigError for a model that was not built of inputs and layers, and for one that uses a layer with weights twice.
    """
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs or not hasattr(outputs[0], "_keras_history"):
        raise ConfigError(f"{model.name} does not say what it is made of", HINT)
    if len(outputs) != 1:
        raise ConfigError(f"{model.name} has {len(outputs)} outputs", "prune a model of one output")
    if open_shapes := [tensor.name for tensor in inputs if None in tensor.shape[1:]]:
        raise ConfigError(f"{model.name} has an input of no fixed size: {open_shapes[0]}", "give keras.Input the height and width")
    walk = _Walk([tuple(tensor.shape[1:]) for tensor in inputs])
    (end,) = run(inputs, outputs, [_At(position) for position in range(len(inputs))], walk.step)
    if twice := [layer for layer in walk.used if walk.used[layer] > 1]:
        raise ConfigError(f"{model.name} uses the layer {twice[0].name} {walk.used[twice[0]]} times", "give each place one of its own")
    names = Counter(layer.name for layer in walk.used)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ConfigError(f"{model.name} has {names[twice[0]]} layers called {twice[0]}", "give each a name of its own")
    output = walk.settled(end)
    graph, places = fused(walk.graph, output)
    layers = {layer.name: Places(layer, *(places[place] for place in where)) for layer, where in walk.layers.items()}
    return KerasGraph(graph, places[output], layers, tuple(walk.whole))


class _Walk:
    """Adds the operations of Keras' nodes to a graph, each as the operation that the harness has for it."""

    def __init__(self, inputs: Sequence[g.Shape]) -> None:
        self.graph = g.Graph(*inputs)
        self.layers: dict[Any, tuple[int, int, int]] = {}
        self.whole: list[str] = []
        self.used: Counter[Any] = Counter()

    def step(self, node: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[_At]:
        """Add the operation of a node; return where its outputs stand."""
        from keras import tree

        sources = [value for value in tree.flatten((arguments, named)) if isinstance(value, _At)]
        if getattr(node.operation, "weights", ()) or type(node.operation).__name__ == "Reshape":
            self.used[node.operation] += 1  # what is made for the channels around it
        found = None
        if len(node.outputs) == 1 and sources:
            found = self._arithmetic(node, sources, tree.flatten((arguments, named)))
            if found is None:
                found = self._layer(node, sources)
        if found is not None:
            return [found]
        self.whole.append(node.operation.name)
        positions = [self.settled(source) for source in sources]
        return [_At(self.graph.add(Foreign(node.operation.name, _shape(tensor)), *positions)) for tensor in node.outputs]

    def settled(self, value: _At) -> int:
        """Return the position of a value; an activation that was begun and came to none that the harness knows is a foreign operation."""
        if not value.plus:
            return value.position
        return self._kept("cut to 0..6 of x + 3" if value.capped else "x + 3", self.graph.shape(value.position), value.position)

    def _arithmetic(self, node: Any, sources: Sequence[_At], values: Sequence[Any]) -> _At | None:
        """Return what a sum or product of Keras tensors gives: of hard activations, written as MobileNetV3's authors did, what they are."""
        name = type(node.operation).__name__
        if type(node.operation).__module__.partition(".")[0] != "keras" or name not in ("Add", "Multiply"):
            return None
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(sources) == 1 and len(numbers) == 1:
            (value,), (number,) = sources, numbers
            if name == "Add" and number == _SHIFT and not value.plus:
                return _At(value.position, _SHIFT)
            if name == "Multiply" and value.capped and math.isclose(number, 1 / 6, rel_tol=1e-6):
                return _At(self.graph.add(g.Activate("hard_sigmoid"), value.position))
            return _At(self._kept(node.operation.name, _shape(node.outputs[0]), self.settled(value)))
        if len(sources) != 2:
            return None
        positions = [self.settled(source) for source in sources]
        if len({self.graph.shape(position)[-1] for position in positions}) > 1:
            return None
        if name == "Add" and self.graph.shape(positions[0]) == self.graph.shape(positions[1]):
            return _At(self.graph.add(g.Add(), *positions))
        if name == "Multiply":
            for gated, gate in (positions, positions[::-1]):
                if self._is_gate_of(gate, gated):
                    return _At(self.graph.add(g.Activate("hard_swish"), gated))
                if math.prod(self.graph.shape(gate)[:-1]) == 1:
                    return _At(self.graph.add(g.Multiply(), gated, gate))
        return _At(self._kept(node.operation.name, _shape(node.outputs[0]), *positions))

    def _is_gate_of(self, gate: int, gated: int) -> bool:
        number = gate - len(self.graph.inputs)
        if number < 0:
            return False
        node = self.graph.nodes[number]
        return node.operation == g.Activate("hard_sigmoid") and node.inputs == (gated,)

    def _layer(self, node: Any, sources: Sequence[_At]) -> _At | None:
        """Return what a layer gives, None for one that is not known."""
        from keras import layers

        layer, shape = node.operation, _shape(node.outputs[0])
        if not of_keras(layer):
            return None
        if isinstance(layer, layers.ReLU) and sources[0].plus and _cut(layer) == "relu6":
            return _At(sources[0].position, sources[0].plus, capped=True)
        positions = [self.settled(source) for source in sources]
        source, add = positions[0], self.graph.add
        match layer:
            case layers.Conv2D() if _plain(layer):
                operation = g.Convolution(layer.filters, layer.kernel_size, layer.strides, layer.padding, layer.groups, norm=False)
                return self._weighted(layer, source, add(operation, source))
            case layers.SeparableConv2D() if _plain(layer):
                inner = add(_depthwise(layer, bias=False), source)
                return self._weighted(layer, source, add(g.Convolution(layer.filters, (1, 1), norm=False), inner), inner)
            case layers.DepthwiseConv2D() if _plain(layer):
                return self._weighted(layer, source, add(_depthwise(layer, bias=layer.use_bias), source))
            case layers.Dense() if len(self.graph.shape(source)) == 1:
                return self._weighted(layer, source, add(g.Dense(layer.units), source))
            case layers.BatchNormalization() if layer.axis in (-1, len(shape)):
                made = add(Norm(), source)
            case layers.PReLU():
                made = self._kept(layer.name, shape, source)
            case layers.ReLU():
                return _At(self._activation(_cut(layer), source, layer.name))
            case layers.Activation():
                return _At(self._activation(_activation_of(layer), source, layer.name))
            case layers.Softmax():
                return _At(self._activation("softmax", source, layer.name))
            case _ if not isinstance(layer, layers.Layer) and (name := _function(layer)) is not None:
                return _At(self._activation(name, source, layer.name))
            case layers.MaxPooling2D() | layers.AveragePooling2D() if layer.data_format == "channels_last":
                reduction: g.Reduction = "max" if isinstance(layer, layers.MaxPooling2D) else "average"
                return _At(add(g.Pooling(reduction, layer.pool_size, layer.strides, layer.padding), source))
            case layers.GlobalAveragePooling2D() if layer.data_format == "channels_last":
                return _At(add(g.GlobalPooling(layer.keepdims), source))
            case layers.Flatten() if layer.data_format == "channels_last" or len(self.graph.shape(source)) == 1:
                return _At(add(g.Flatten(), source))
            case layers.Dropout():
                return _At(add(g.Dropout(layer.rate), source))
            case layers.ZeroPadding2D() if layer.data_format == "channels_last":
                return _At(add(g.Pad(*map(tuple, layer.padding)), source))
            case layers.Cropping2D() if layer.data_format == "channels_last" and not (layer.cropping[0][1] or layer.cropping[1][1]):
                return _At(add(g.Crop(layer.cropping[0][0], layer.cropping[1][0]), source))
            case layers.Add() if len({self.graph.shape(one) for one in positions}) == 1:
                made = positions[0]
                for other in positions[1:]:
                    made = add(g.Add(), made, other)
                return _At(made)
            case layers.Concatenate() if layer.axis in (-1, len(shape)):
                return _At(add(g.Concatenate(), *positions))
            case layers.Reshape() if shape[-1] == self.graph.shape(source)[-1]:
                made = self._kept(layer.name, shape, source)
            case layers.Rescaling() if not (isinstance(layer.scale, int | float) and isinstance(layer.offset, int | float)):
                return None  # a number for each channel
            case _ if isinstance(layer, _keeping()) and getattr(layer, "data_format", "channels_last") == "channels_last":
                alike = len({self.graph.shape(position)[-1] for position in positions}) == 1
                return _At(self._kept(layer.name, shape, *positions)) if alike else None
            case _:
                return None
        self.layers[layer] = source, source, made
        return _At(made)

    def _weighted(self, layer: Any, source: int, made: int, inner: int | None = None) -> _At:
        self.layers[layer] = source, made if inner is None else inner, made
        return _At(self._activation(_activation_of(layer), made, layer.name))

    def _activation(self, name: str, source: int, layer: str) -> int:
        """Return the position of an activation of a layer; one that is not known makes the layer one that is not."""
        for known in g.ACTIVATIONS:
            if name == known:
                return source if known == "linear" else self.graph.add(g.Activate(known), source)
        shape = self.graph.shape(source)
        if name in _ELEMENTWISE:
            return self._kept(name, shape, source)
        self.whole.append(layer)
        return self.graph.add(Foreign(name, shape), source)

    def _kept(self, name: str, shape: g.Shape, *sources: int) -> int:
        return self.graph.add(Foreign(name, shape[:-1], keeps_channels=True), *sources)


def _shape(tensor: Any) -> g.Shape:
    return tuple(tensor.shape[1:])


def _plain(layer: Any) -> bool:
    return bool(layer.data_format == "channels_last" and tuple(layer.dilation_rate) == (1, 1))


def _depthwise(layer: Any, *, bias: bool) -> g.DepthwiseConvolution:
    return g.DepthwiseConvolution(layer.kernel_size, layer.strides, layer.padding, layer.depth_multiplier, norm=False, bias=bias)


def _cut(layer: Any) -> str:
    """Return the name of a rectifier's activation."""
    if layer.negative_slope or layer.threshold:
        return "leaky_relu"
    return {None: "relu", 6.0: "relu6"}.get(layer.max_value, "threshold")


def _function(operation: Any) -> str | None:
    """Return the name of an activation that Keras computes without a layer (`keras.ops.relu`); None for another operation."""
    kind = type(operation)
    if kind.__module__.partition(".")[0] != "keras" or getattr(operation, "axis", -1) != -1:
        return None
    if kind.__name__ == "ReLU":
        return _cut(operation)
    name = re.sub("(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    name = _ALSO.get(name, name)
    return name if name in g.ACTIVATIONS or name in _ELEMENTWISE else None


def _activation_of(layer: Any) -> str:
    """Return the name of a layer's activation, which may be a layer itself; raises ConfigError for one with weights."""
    from keras import layers

    match layer.activation:
        case layers.ReLU() as given:
            return _cut(given)
        case layers.Layer() as given if given.weights or isinstance(given, layers.PReLU):  # built when it is called with numbers
            raise ConfigError(f"the activation of {layer.name} has weights", "put it behind, as a layer of its own")
        case layers.LeakyReLU() | layers.ELU() | layers.Softmax() as given:
            return {"LeakyReLU": "leaky_relu"}.get(type(given).__name__, type(given).__name__.lower())
        case given:
            name = getattr(given, "__name__", type(given).__name__)
            return _ALSO.get(name, name)


def _keeping() -> tuple[type[Any], ...]:
    """Return the layers without weights that keep each channel where it is."""
    from keras import layers

    return (
        *(
            layers.LeakyReLU,
            layers.ELU,
            layers.SpatialDropout2D,
            layers.GaussianNoise,
            layers.GaussianDropout,
            layers.ActivityRegularization,
        ),
        *(layers.GlobalMaxPooling2D, layers.UpSampling2D, layers.Cropping2D, layers.Rescaling, layers.Identity),
        *(layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Add),
    )
