"""MorphNet (Gordon et al. 2018): a regularizer on the scales of batch norm makes channels that cost much vanish, then all are widened.

In a training loop of one's own:

    morph = MorphNet(structure, resource, strength=10 / resource.of(structure.widths))
    model.fit(..., callbacks=[morph.callback()])
    smaller = morph.expanded(budget)  # untrained
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks.channels import Mask
from harness.prune.resources import Resource
from harness.prune.structure import Structure, kept_whole, largest
from harness.training.layers import trace_anew

THRESHOLD = 0.01
"""A channel whose scale is no larger, in size, counts as dead."""

MOST_WIDER = 64


class MorphNet:
    """The sparsifying regularizer of one resource on a Keras model, and what becomes of the model by it.

    Its loss is `strength` times the sum over groups of channels of what a channel more would cost (the resource's gradient at the channels
    that are alive) times the sum of the channels' scales: for mult-adds and parameters that is the paper's G, for latency it is
    the table's own slope. A strength of a number over the amount of the whole model makes scales of one cost about so much of a loss;
    `alive` tells how many channels are left. Where several layers of batch norm scale a channel, as with residual additions, the largest
    scale counts. Groups without batch norm lose no channel.
    """

    def __init__(self, structure: Structure, resource: Resource, strength: float, threshold: float = THRESHOLD, multiple: int = 1) -> None:
        """Put the regularizer on the model's layers of batch norm; raises ConfigError where no group of channels has one.

        In the end widths are multiples of `multiple`: of 8, say, where a runtime's kernels work on so many channels at a time.
        """
        import tensorflow as tf

        self.structure = structure
        self.resource = resource
        self.threshold = threshold
        self._strength = strength
        self._multiple = multiple
        self._norms = norms_of(structure)
        self._costs = {number: tf.Variable(0.0, trainable=False, name=f"cost_{number}") for number in self._norms}
        for number, (first, *others) in self._norms.items():
            first.gamma.regularizer = _Largest([norm.gamma for norm in others], self._costs[number], first.gamma.regularizer)
        trace_anew(structure.model)
        self.update()

    def update(self) -> None:
        """Bring the cost of a channel to what is alive now."""
        slopes = self.resource.gradient(self.resource.nearest(self.alive()))
        for number, cost in self._costs.items():
            cost.assign(self._strength * float(slopes[number]))

    def callback(self) -> Any:
        """Return a Keras callback that updates the costs after every epoch."""
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: self.update())

    def kept(self) -> dict[int, Mask]:
        """Return which channels are alive, by the numbers of the groups that have batch norm; of a dead one the largest scale stays."""
        found = {}
        for number in self._norms:
            scales = self.scales(number)
            mask = scales > self.threshold
            mask[np.argmax(scales)] = True
            found[number] = mask
        return found

    def alive(self) -> list[int]:
        """Return how many channels of each group are alive: all of one without batch norm."""
        kept = self.kept()
        return [int(kept[number].sum()) if number in kept else width for number, width in enumerate(self.structure.widths)]

    def shrunk(self, budget: float | None = None) -> Any:
        """Return a new model of the channels that are alive, with their weights; what dead ones passed on by their shift is lost.

        With a budget of the resource it has as many as `expanded` begins with, in multiples, those of the largest scales; raises
        ConfigError likewise.
        """
        if budget is None:
            return self.structure.shrunk(self.kept())
        widths = self._within(budget)
        return self.structure.shrunk({number: largest(self.scales(number), widths[number]) for number in self._norms})

    def expanded(self, budget: float) -> Any:
        """Return a new, untrained model: the channels that are alive, as much wider as the budget of the resource allows.

        Where more is alive than that, as where nothing died, those of the smallest scales are left out. Raises ConfigError where even a
        channel of each group exceeds the budget.
        """
        return self.structure.resized(expand(self._within(budget), self.resource, budget, self._multiple))

    def _within(self, budget: float) -> list[int]:
        """Return widths within a budget: of what is alive, or less.

        A group narrower than the resource is known for counts as the narrowest that it is.
        """
        alive, ranked = self.alive(), []
        for number, mask in self.kept().items():
            scales = np.sort(self.scales(number)[mask])
            # Of equal scales, as before any training, all groups lose their share.
            ranked += [(scale, rank / len(scales), number) for rank, scale in enumerate(scales[:-1])]
        numbers = [number for _, _, number in sorted(ranked)]

        def without(count: int) -> list[int]:
            left = list(alive)
            for number in numbers[:count]:
                left[number] -= 1
            return _in_multiples(left, self.structure, self._multiple)

        def amount(count: int) -> float:
            return self.resource.of(self.resource.nearest(without(count)))

        if (least := amount(len(numbers))) > budget:
            raise _unreachable(self.structure, self.resource, least, budget)
        return without(bisect_left(range(len(numbers)), True, key=lambda count: amount(count) <= budget))

    def remove(self) -> None:
        """Take the regularizer off the model."""
        for first, *_ in self._norms.values():
            first.gamma.regularizer = first.gamma.regularizer.before
        trace_anew(self.structure.model)

    def scales(self, number: int) -> npt.NDArray[np.float64]:
        """Return the size of the scale of each channel of a group that has batch norm, the largest where several scale it."""
        each = []
        for norm in self._norms[number]:
            position = self.structure.layers[norm.name].output
            each.append(self.structure.channels.of_group(number, position, np.abs(norm.gamma.numpy()).astype(np.float64)))
        return np.asarray(np.max(each, axis=0))


def norms_of(structure: Structure) -> dict[int, list[Any]]:
    """Return the layers of batch norm that scale each group's channels; raises ConfigError where no group has one."""
    # Keras counts the regularizers of what is trained alone: such a one comes first.
    scaled = {
        number: sorted((norm for norm in structure.norms(number) if norm.scale), key=lambda norm: not norm.trainable)
        for number in range(len(structure.groups))
    }
    found = {number: norms for number, norms in scaled.items() if norms and norms[0].trainable}
    if not found:
        what = f"{structure.model.name} has no batch norm that scales channels and is trained"
        raise ConfigError(what, "MorphNet needs one behind convolutions")
    return found


def check_alive(structure: Structure, resource: Resource, budget: float, multiple: int = 1) -> None:
    """Raise ConfigError for a budget that a channel of each group exceeds, and where no group has batch norm."""
    norms = norms_of(structure)
    alive = [1 if number in norms else width for number, width in enumerate(structure.widths)]
    if (least := resource.of(resource.nearest(_in_multiples(alive, structure, multiple)))) > budget:
        raise _unreachable(structure, resource, least, budget)


def _unreachable(structure: Structure, resource: Resource, least: float, budget: float) -> ConfigError:
    what = f"at its narrowest it has {resource.said(least)}, more than {resource.said(budget)}"
    return ConfigError(what + kept_whole(structure), "give a target above it")


def _in_multiples(counts: Sequence[int], structure: Structure, multiple: int) -> list[int]:
    """Return so many channels of each group, each the nearest multiple, but none more than it has; one that is whole stays so."""
    rounded = _times(1, counts, multiple)
    return [width if count == width else min(width, one) for count, width, one in zip(counts, structure.widths, rounded, strict=True)]


class _Largest:
    """The cost of a group's channels, of each the largest of its scales in size, and what was there `before`."""

    def __init__(self, others: Sequence[Any], cost: Any, before: Any) -> None:
        self._others = others
        self._cost = cost
        self.before = before

    def __call__(self, scales: Any) -> Any:
        import tensorflow as tf

        sizes = tf.abs(scales)
        for other in self._others:
            sizes = tf.maximum(sizes, tf.abs(other))
        own = self._cost * tf.reduce_sum(sizes)
        return own if self.before is None else own + self.before(scales)


def expand(widths: Sequence[int], resource: Resource, budget: float, multiple: int = 1) -> list[int]:
    """Return widths times the largest factor, the same for all, at which the resource stays within a budget.

    What becomes wider is rounded to the nearest multiple, of at least one. Where the resource is not known for narrower ones, it counts as
    that of the narrowest it is known for; none become wider than it is known for. Raises ConfigError where they exceed the budget as they
    are.
    """

    def wider(factor: Fraction) -> list[int]:
        return [max(pair) for pair in zip(widths, _times(factor, widths, multiple), strict=True)]

    def fits(wanted: Sequence[int]) -> bool:
        known = resource.nearest(wanted)
        return all(one >= other for one, other in zip(known, wanted, strict=True)) and resource.of(known) <= budget

    found = list(widths)
    if (amount := resource.of(resource.nearest(found))) > budget:
        raise ConfigError(
            f"what is alive has {resource.said(amount)} already, more than {resource.said(budget)}",
            "let it shrink for longer, or more strongly",
        )
    # Between two factors at which some width is rounded up all are the same.
    for factor in sorted(
        {Fraction((2 * count + 1) * multiple, 2 * width) for width in widths for count in range(math.ceil(MOST_WIDER * width / multiple))}
    ):
        if factor > 1:
            if not fits(wanted := wider(factor)):
                break
            found = wanted
    return found


def _times(factor: Fraction | int, widths: Sequence[int], multiple: int) -> list[int]:
    """Return widths times a factor, each the nearest multiple of at least one, the larger of two."""
    over, under = 2 * factor.numerator, factor.denominator * multiple
    return [multiple * max(1, (over * width + under) // (2 * under)) for width in widths]
