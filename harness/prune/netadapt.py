"""NetAdapt (Yang et al. 2018): layer by layer fewer channels, under a budget of latency that falls step by step.

Each step every group of channels is cut, by itself, as little as meets the step's budget; each such network is trained for a short while,
and the most accurate one is what the next step begins with.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from harness.errors import ConfigError, TrainingFailed
from harness.networks.channels import Mask
from harness.prune.resources import Resource
from harness.prune.structure import Structure, kept_whole, largest

_LEAST_STEP = 1e-3
"""Of the amount at the start."""


@dataclass(frozen=True)
class Cut:
    """One group of channels, by its number and name, cut to `width` in a step: what the network then has of the resource, its accuracy.

    Without an accuracy it could not be trained.
    """

    step: int
    number: int
    group: str
    width: int
    amount: float
    accuracy: float | None


@dataclass(frozen=True)
class Budgets:
    """How the budget falls: in the first step by the share `first` of the amount at the start, then by `decay` times the step before."""

    first: float = 0.05
    decay: float = 0.96
    multiple: int = 8
    """Widths are multiples of it where they are cut: others take a runtime as long as the next, or longer."""


def budget_of(amount: float, target: float, start: float, step: int, budgets: Budgets) -> float:
    """Return what the network may have after a step, no less than the target."""
    return max(target, amount - start * budgets.first * budgets.decay**step)


def cuts_of(structure: Structure, resource: Resource, budget: float, multiple: int) -> dict[int, int]:
    """Return the largest width of each group at which the network meets a budget, where that alone can meet it."""
    found = {}
    for number in range(len(structure.groups)):
        widths = list(_narrower(structure, resource, number, multiple))
        less = partial(_less, structure, resource, number)
        first = bisect_left(widths, -budget, key=less)  # no amount falls as a width grows
        if first < len(widths):
            found[number] = widths[first]
    return found


def check_reachable(structure: Structure, resource: Resource, target: float, multiple: int) -> None:
    """Raise ConfigError for a target below what cutting can reach, within the widths that the resource is known for."""
    widths = list(structure.widths)
    for number in range(len(widths)):
        widths[number] = min((widths[number], *_narrower(structure, resource, number, multiple)))
    if (least := resource.of(resource.nearest(widths))) > target:
        what = f"{resource.said(target)} cannot be reached: at its narrowest the network has {resource.said(least)}"
        raise ConfigError(what + kept_whole(structure), "give a target above it")


def strongest(structure: Structure, number: int, width: int) -> Mask:
    """Return the mask of the channels of a group with the largest weights: by the L2 norm over all layers that make them."""
    squares = np.zeros(structure.widths[number])
    for layer in structure.producers(number):
        kernel = (layer.pointwise_kernel if hasattr(layer, "pointwise_kernel") else layer.kernel).numpy()
        by_channel = (kernel.astype(np.float64) ** 2).reshape(-1, kernel.shape[-1]).sum(axis=0)
        squares += structure.channels.of_group(number, structure.layers[layer.name].output, by_channel)
    return largest(squares, width)


def adapt(
    model: Any,
    resource_of: Callable[[Structure], Resource],
    target: float,
    train: Callable[[Any, int], float],
    budgets: Budgets,
    *,
    known: Sequence[Cut] = (),
    cut: Callable[[Cut], None] | None = None,
    stepped: Callable[[Cut, Any], None] | None = None,
    start: float | None = None,
    first: int = 0,
) -> Any:
    """Return a smaller Keras model that has no more than `target` of a resource.

    `train` trains a model in place for a short while and returns its accuracy; it is told the step. Cuts `known` from a run that ended
    early are not trained again unless one of them is the best; `cut` is told each new one, `stepped` each step's, with its model. Such a
    run goes on at the step `first` with what it had, and `start`, the amount that it began with. Raises ConfigError for a target that
    cutting cannot reach, and TrainingFailed where no cut of a step could be trained.
    """
    structure = Structure(model)
    resource = resource_of(structure)
    amount = resource.of(structure.widths)
    start = amount if start is None else start
    check_reachable(structure, resource, target, budgets.multiple)
    step = first
    while amount > target:
        budget = budget_of(amount, target, start, step, budgets)
        while not (cuts := cuts_of(structure, resource, budget, budgets.multiple)):
            if amount - budget < _LEAST_STEP * start:
                what = f"no group of channels alone brings {resource.said(amount)} any nearer to {resource.said(target)}"
                raise ConfigError(what, "measure the layers at narrower widths, or give a target above it")
            budget = (budget + amount) / 2  # no group alone meets it: a smaller step
        best: Cut | None = None
        most = float("-inf")
        kept: Any = None
        for number, width in cuts.items():
            one = next((each for each in known if (each.step, each.number, each.width) == (step, number, width)), None)
            made = None
            if one is None:
                made = _cut(structure, number, width)
                one = Cut(step, number, structure.name(number), width, resource.of(_with(structure.widths, number, width)), None)
                with suppress(TrainingFailed):  # one that fails is not taken
                    one = replace(one, accuracy=train(made, step))
                if cut is not None:
                    cut(one)
            if one.accuracy is not None and one.accuracy > most:
                best, most, kept = one, one.accuracy, made
        if best is None:
            raise TrainingFailed(f"no cut of step {step + 1} could be trained", "a lower learning rate may help, in another folder")
        if kept is None:  # one of those known
            kept = _cut(structure, best.number, best.width)
            train(kept, step)
        structure = Structure(kept)
        resource = resource_of(structure)
        amount = resource.of(structure.widths)
        if stepped is not None:
            stepped(best, structure.model)
        step += 1
    return structure.model


def _cut(structure: Structure, number: int, width: int) -> Any:
    return structure.shrunk({number: strongest(structure, number, width)})


def _less(structure: Structure, resource: Resource, number: int, width: int) -> float:
    return -resource.of(_with(structure.widths, number, width))


def _with(widths: Sequence[int], number: int, width: int) -> list[int]:
    return [*widths[:number], width, *widths[number + 1 :]]


def _narrower(structure: Structure, resource: Resource, number: int, multiple: int) -> Iterator[int]:
    """Yield the multiples below the width of a group, largest first, for which the resource is known."""
    widths = structure.widths
    for narrower in range((widths[number] - 1) // multiple * multiple, 0, -multiple):
        if not resource.covers(_with(widths, number, narrower)):
            return
        yield narrower
