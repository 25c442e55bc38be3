"""Channels of a Keras model really removed: the smaller model computes what the model with those channels masked does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.networks.channels import Channels, Group, Mask
from harness.prune.keras_flow import run
from harness.prune.keras_graph import Places, graph_of

Kept = Mapping[int, Mask]
"""Which channels of some groups stay, by the group's number; all of those of other groups do."""

Array = npt.NDArray[np.float32]

_MOVING = ("moving_mean", "moving_variance")


class Structure:
    """What a Keras model is made of: its graph, and the groups of channels that can be removed from it.

    `whole` names the layers that are not known: they stay as they are, as do the channels around them. Raises ConfigError as
    `keras_graph.graph_of` does.
    """

    def __init__(self, model: Any) -> None:
        found = graph_of(model)
        self.model = model
        self.graph, self.output = found.graph, found.output
        self.channels = Channels(found.graph, found.output)
        self.layers = found.layers
        self.whole = found.whole

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of channels, by their numbers."""
        return self.channels.groups

    @property
    def widths(self) -> tuple[int, ...]:
        """How many channels each group has."""
        return tuple(group.channels for group in self.groups)

    def producers(self, number: int) -> tuple[Any, ...]:
        """Return the layers that make the channels of a group."""
        from keras import layers

        kinds = layers.Conv2D | layers.SeparableConv2D | layers.Dense
        made_at = set(self.groups[number].producers)
        return tuple(places.layer for places in self.layers.values() if places.output in made_at and isinstance(places.layer, kinds))

    def norms(self, number: int) -> tuple[Any, ...]:
        """Return the layers of batch norm that scale the channels of a group, and no others."""
        from keras import layers

        return tuple(
            places.layer
            for places in self.layers.values()
            if isinstance(places.layer, layers.BatchNormalization) and self.channels.shares[places.output] == {number: 1}
        )

    def name(self, number: int) -> str:
        """Return what a group is called: the layer that makes its channels, or the first of those and how many more there are."""
        first, *others = (layer.name for layer in self.producers(number))
        return f"{first} and {len(others)} more" if others else str(first)

    def shrunk(self, kept: Kept) -> Any:
        """Return a new model without the channels that are not kept, with this one's weights for the rest."""
        return self._rebuilt(self._widths_of(kept), lambda places, weights: self._cut(places, weights, kept, removed=True))

    def masked(self, kept: Kept) -> Any:
        """Return a new model of this one's shape in which all weights of the channels that are not kept are zero."""
        return self._rebuilt(self.widths, lambda places, weights: self._cut(places, weights, kept, removed=False))

    def resized(self, widths: Sequence[int]) -> Any:
        """Return a new model in which the groups have these widths, with first weights of its own but in layers that are left whole."""
        return self._rebuilt(widths, None)

    def parameters(self, widths: Sequence[int]) -> int:
        """Return how many parameters the model has where its groups have these widths; of batch norm's, scale and shift are."""
        known = {id(weight) for places in self.layers.values() for weight in places.layer.weights}
        count: int = sum(math.prod(weight.shape) for weight in parameters_in(self.model) if id(weight) not in known)
        for places in self.layers.values():
            of = {id(weight): axes for weight, axes in zip(places.layer.weights, _axes(places.layer), strict=True)}
            for weight in parameters_in(places.layer):
                shape = list(weight.shape)
                for axis, which in of[id(weight)]:
                    position = getattr(places, which)
                    if shape[axis] == self.channels.width_at(position, self.widths):  # a weight that all channels share has one
                        shape[axis] = self.channels.width_at(position, widths)
                count += math.prod(shape)
        return count

    def _widths_of(self, kept: Kept) -> list[int]:
        return [int(kept[number].sum()) if number in kept else width for number, width in enumerate(self.widths)]

    def _rebuilt(self, widths: Sequence[int], weights_of: Callable[[Places, list[Array]], list[Array]] | None) -> Any:
        """Return a new model of these widths, its weights made of this one's where it is said how."""
        import keras
        from keras import tree

        made: dict[int, tuple[Any, Any]] = {}
        names: set[str] = set()

        def call(node: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
            operation = node.operation
            if isinstance(operation, keras.Layer):
                if id(operation) not in made:
                    made[id(operation)] = operation, self._anew(operation, widths, names)
                operation = made[id(operation)][1]
            return list(tree.flatten(operation(*arguments, **named)))

        inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name) for tensor in self.model.inputs]
        outputs = run(self.model.inputs, self.model.outputs, inputs, call)
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs[0], name=self.model.name)
        for old, new in made.values():
            places = self.layers.get(old.name)
            if old.weights and (places is None or weights_of is not None):
                new.set_weights(old.get_weights() if places is None or weights_of is None else weights_of(places, old.get_weights()))
            if isinstance(new, keras.layers.Normalization):
                new.finalize_state()  # it computes with what it read from its weights before
        return model

    def _anew(self, layer: Any, widths: Sequence[int], names: set[str]) -> Any:
        """Return a new layer as this one, of as many channels as the groups around it have."""
        from keras import layers

        config = layer.get_config()
        name = config["name"]
        while config["name"] in names:  # layers of a model within the model may be called as others
            config["name"] = f"{name}_{len(names)}"
        names.add(config["name"])
        places = self.layers.get(layer.name)
        if places is not None:
            width = self.channels.width_at(places.output, widths)
            match layer:
                case layers.Conv2D() | layers.SeparableConv2D():
                    config["filters"] = width
                case layers.Dense():
                    config["units"] = width
                case layers.Reshape():
                    config["target_shape"] = (*config["target_shape"][:-1], width)
        return type(layer).from_config(config)

    def _cut(self, places: Places, weights: list[Array], kept: Kept, *, removed: bool) -> list[Array]:
        """Return the weights of a layer without those of channels that are not kept, or with zeros in their place."""
        found = []
        for weight, axes in zip(weights, _axes(places.layer), strict=True):
            cut = weight
            for axis, which in axes:
                mask = self.channels.kept_at(getattr(places, which), kept)
                if not mask.all() and cut.shape[axis] == len(mask):  # a weight that all channels share has one
                    cut = _without(cut, axis, mask, removed=removed)
            found.append(cut)
        return found


def parameters_in(part: Any) -> list[Any]:
    """Return the weights of a model or a layer but for what batch norm keeps that is no parameter."""
    return [weight for weight in part.weights if not weight.path.endswith(_MOVING)]


def kept_whole(structure: Structure) -> str:
    """Return what an error adds of layers that are not known; nothing where all are."""
    return f"; channels around {', '.join(structure.whole)}, not known, are left whole" if structure.whole else ""


def largest(values: npt.NDArray[np.float64], count: int) -> Mask:
    """Return the mask of so many of the largest values, of equal ones the first; of all where there are fewer."""
    mask = np.zeros(len(values), dtype=np.bool_)
    mask[np.argsort(-values, kind="stable")[:count]] = True
    return mask


def _axes(layer: Any) -> tuple[tuple[tuple[int, str], ...], ...]:
    """Return for each weight of a layer which of its axes are channels: of its source, of what is inside it, or of its output."""
    from keras import layers

    bias = ((0, "output"),)
    match layer:
        case layers.SeparableConv2D():
            return (((2, "source"),), ((2, "inner"), (3, "output")), bias)[: len(layer.weights)]
        case layers.DepthwiseConv2D():
            return (((2, "source"),), bias)[: len(layer.weights)]
        case layers.Conv2D():
            return (((2, "source"), (3, "output")), bias)[: len(layer.weights)]
        case layers.Dense():
            return (((0, "source"), (1, "output")), bias)[: len(layer.weights)]
        case _:
            return (((-1, "output"),),) * len(layer.weights)


def _without(weight: Array, axis: int, mask: Mask, *, removed: bool) -> Array:
    if removed:
        return np.compress(mask, weight, axis)
    shape = [1] * weight.ndim
    shape[axis] = len(mask)
    return weight * mask.reshape(shape)
