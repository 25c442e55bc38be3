"""Small weights removed layer by layer (Han, Pool, Tran and Dally 2015), as far as each layer's sensitivity allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks.channels import Mask
from harness.prune.keras_flow import run
from harness.prune.masks import Masks, kernels_in, kernels_of, share_kept
from harness.training.layers import layers_of

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
"""Shares kept at which a scan tries each layer, from all on down."""

_HALVINGS = 40


@dataclass(frozen=True)
class Sensitivity:
    """The accuracy of a model where of one kernel only such shares of the weights are kept, the largest ones, and all of the others."""

    kernel: str
    shares: tuple[float, ...]
    accuracies: tuple[float, ...]

    def share_within(self, least: float) -> float:
        """Return the least share, by linear interpolation, down to which the accuracy stays at `least` or above."""
        kept, known = self.shares[0], self.accuracies[0]
        for share, accuracy in zip(self.shares[1:], self.accuracies[1:], strict=True):
            if accuracy < least:
                return share + (kept - share) * (least - accuracy) / (known - accuracy) if known >= least else kept
            kept, known = share, accuracy
        return kept


def sensitivities(
    model: Any,
    accuracy: Callable[[Any], float],
    shares: Sequence[float] = SHARES,
    each: Callable[[Sensitivity], None] | None = None,
    known: Mapping[str, Sensitivity] | None = None,
) -> tuple[Sensitivity, ...]:
    """Return how sensitive each kernel of a Keras model is to pruning (the paper's Figure 6), without retraining.

    `accuracy` judges the model; `each` is told every kernel that is done, and those `known` are not done again. The model is left as it
    was.
    """
    found = []
    for path, kernel in kernels_of(model).items():
        one = (known or {}).get(path)
        if one is None:
            weights = kernel.numpy()
            accuracies = []
            for share in shares:
                kernel.assign(np.where(largest(weights, share), weights, 0.0))
                accuracies.append(accuracy(model))
            kernel.assign(weights)
            one = Sensitivity(path, tuple(shares), tuple(accuracies))
            if each is not None:
                each(one)
        found.append(one)
    return tuple(found)


def shares_within(found: Sequence[Sensitivity], loss: float) -> dict[str, float]:
    """Return the least share of each kernel whose pruning alone costs no more than `loss` of accuracy."""
    return {one.kernel: one.share_within(one.accuracies[0] - loss) for one in found}


def shares_at(found: Sequence[Sensitivity], sizes: Mapping[str, int], share: float) -> dict[str, float]:
    """Return the share of each kernel to keep where of all weights so large a share is to be: all lose as much accuracy, each by itself.

    `sizes` are the kernels' weights.
    """

    def kept(loss: float) -> float:
        shares = shares_within(found, loss)
        return sum(size * shares.get(path, 1.0) for path, size in sizes.items()) / sum(sizes.values())

    whole = dict.fromkeys(sizes, 1.0)
    if share >= kept(0.0):
        return _between(whole, shares_within(found, 0.0), 1.0, kept(0.0), share)
    if share < kept(1.0):
        return {path: one * share / kept(1.0) for path, one in (whole | shares_within(found, 1.0)).items()}
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) > share else (low, middle)
    # The share may jump where a layer's accuracy falls at once.
    return _between(whole | shares_within(found, low), shares_within(found, high), kept(low), kept(high), share)


def _between(more: Mapping[str, float], fewer: Mapping[str, float], most: float, least: float, share: float) -> dict[str, float]:
    """Return shares between two sets of them, which come to `most` and `least` of all weights, that come to `share`."""
    part = (most - share) / (most - least) if most > least else 0.0
    return {path: one + part * (fewer.get(path, one) - one) for path, one in more.items()}


def largest(weights: npt.NDArray[np.float32], share: float) -> Mask:
    """Return the mask of the largest weights by magnitude, so large a share of them, one at least."""
    count = max(1, round(share * weights.size))
    flat = np.zeros(weights.size, dtype=np.bool_)
    flat[np.argsort(-np.abs(weights).ravel(), kind="stable")[:count]] = True
    return flat.reshape(weights.shape)


def by_shares(model: Any, shares: Mapping[str, float]) -> dict[str, Mask]:
    """Return masks that keep of each kernel the largest weights, so large a share; all of kernels that have none."""
    return {path: largest(kernel.numpy(), shares.get(path, 1.0)) for path, kernel in kernels_of(model).items()}


def deviations(model: Any) -> dict[str, float]:
    """Return the standard deviation of the weights of each kernel."""
    return {path: float(np.std(kernel.numpy())) for path, kernel in kernels_of(model).items()}


def by_quality(model: Any, quality: float, spreads: Mapping[str, float]) -> dict[str, Mask]:
    """Return masks that keep of each kernel the weights above `quality` times its standard deviation, as the paper sets thresholds.

    `spreads` are the deviations of the whole model's kernels: zeros are no part of them. Raises ConfigError where that leaves nothing of a
    kernel.
    """
    masks = {path: np.abs(kernel.numpy()) > quality * spreads[path] for path, kernel in kernels_of(model).items()}
    if emptied := [path for path, mask in masks.items() if not mask.any()]:
        raise ConfigError(f"{quality:g} standard deviations leave nothing of {emptied[0]}", "give a smaller quality")
    return masks


def rescale_dropout(model: Any, masks: Masks, rates: Mapping[str, float]) -> None:
    """Set each dropout to `rate` times the square root of the share that is left of the connections before it (section 3.2).

    Those are the weights of the kernels whose outputs reach it through no other kernel. `masks` tell which of them stay, `rates` are those
    of the whole model by the names of its dropout layers.
    """
    from keras import layers, tree

    def step(node: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[frozenset[str]]:
        before = [each for each in tree.flatten((arguments, named)) if isinstance(each, frozenset)]
        behind = frozenset(kernel.path for kernel in kernels_in(node.operation)) or frozenset().union(*before)
        if isinstance(node.operation, layers.Dropout) and behind:
            node.operation.rate = rates[node.operation.name] * math.sqrt(share_kept({path: masks[path] for path in behind}))
        return [behind] * len(node.outputs)

    run(model.inputs, model.outputs, [frozenset()] * len(model.inputs), step)


def dropout_rates(model: Any) -> dict[str, float]:
    """Return the rates of a model's dropout layers by their names."""
    from keras import layers

    return {layer.name: layer.rate for layer in layers_of(model) if isinstance(layer, layers.Dropout)}
