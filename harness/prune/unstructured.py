"""Weights removed one by one over several rounds, each followed by training of what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.prune.magnitude import rescale_dropout
from harness.prune.masks import Masks, hold, release

Choose = Callable[[Any, float], Masks]
"""Returns which weights of a model stay where a share of all is to; those that are zero already do not come back."""

Retrain = Callable[[Any, int], None]
"""Trains a model in place; it is told the number of the round."""


def shares_of(target: float, rounds: int) -> tuple[float, ...]:
    """Return the share of weights to keep after each round, the last one `target`: each round removes as large a part of what is left."""
    return tuple(target ** ((number + 1) / rounds) for number in range(rounds))


def prune(model: Any, shares: Sequence[float], choose: Choose, retrain: Retrain, rates: Mapping[str, float], first: int = 0) -> Masks:
    """Prune a Keras model in place, a round for each share, and return the masks of the last.

    After each round what is left is trained, the rest held at zero, dropout rescaled from the `rates` of the dense model. Rounds before
    `first` were done already.
    """
    masks: Masks = {}
    for number, share in enumerate(shares):
        if number < first:
            continue
        masks = choose(model, share)
        hold(model, masks)
        rescale_dropout(model, {path: float(mask.mean()) for path, mask in masks.items()}, rates)
        retrain(model, number)
    release(model)
    return masks
