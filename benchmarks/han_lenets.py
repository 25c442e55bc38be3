"""LeNet-300-100 and LeNet-5 on MNIST with a twelfth of their weights (Han et al. 2015), beside the same networks whole.

Both are trained for as many steps: the whole one goes on, from the same weights and at the same rate, for as long as the other is pruned.
LeNet-5 has a third of the epochs, of which each takes five times as long: 10, as many as the 10,000 batches that Caffe trains it for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks import figures
from benchmarks.at_once import at_once
from harness.measure.stats import student
from harness.prune.asked import Asked
from harness.prune.given import model_given
from harness.prune.masks import kernels_of
from harness.prune.study import run_study
from harness.training.backend import load_keras
from harness.training.data import data_named
from harness.training.fit import Recipe, accuracy_of, fit

NETWORKS = {"lenet_300_100": (1.64, 1.59), "lenet_5": (0.80, 0.77)}
"""The paper's errors in percent, before and after."""

EPOCHS = {"lenet_300_100": 1, "lenet_5": 1 / 3}
"""Of those that are asked for."""

RATE = 12
WITHIN = 0.1
RATE_OF_DENSE = 0.05
RECIPE = Recipe(batch=64, learning_rate=0.02, weight_decay=5e-3, label_smoothing=0.0, flip=False, pad=0)
"""Weights decay as by an L2 of 5e-4 at a momentum of 0.9: Keras' SGD decays them apart from the gradient, a tenth as much.

The rate of retraining was chosen on validation data, of 0.005 (a tenth of the dense network's, as in the paper) and 0.02.
"""


def main() -> None:
    """Do what is missing of it all, and compare."""
    options = figures.arguments(__doc__, folder="../shared/data", seeds=3, epochs=30)
    state = figures.TrainedState("han_lenets", options, epochs=str(options.epochs))
    done = {(row["network"], row["seed"]) for row in state.rows("pruned")}
    missing = [one for one in product(NETWORKS, range(options.seeds)) if one not in done]
    for (name, seed), row in at_once(partial(pruner, state.folder, str(Path(options.folder) / "mnist.npz"), options.epochs), missing):
        state.add("pruned", network=name, seed=seed, **row)
    rows, said, met = [], [], True
    for name, (before, after) in NETWORKS.items():
        own = [row for row in state.rows("pruned") if row["network"] == name][: options.seeds]
        pair = [np.array([row[which] for row in own]) for which in ("before", "after")]
        rate = own[0]["weights"] / max(row["left"] for row in own)
        rows.append(
            (
                name,
                f"{rate:.1f}",
                *(f"{one.mean():.2f} ({', '.join(f'{value:.2f}' for value in one)})" for one in pair),
                f"{before} -> {after}",
            )
        )
        change = pair[1] - pair[0]
        half = student(len(change) - 1) * float(np.std(change, ddof=1)) / len(change) ** 0.5
        said.append(f"{name} {rate:.1f}x, error {pair[0].mean():.2f}% -> {pair[1].mean():.2f}% ({change.mean():+.2f} +- {half:.2f} points)")
        met = met and rate >= RATE - 0.05 and pair[1].mean() - pair[0].mean() <= WITHIN
    figures.table(("network", "times fewer weights", "error before", "after", "the paper's"), rows)
    figures.finish(
        options,
        figure="; ".join(said),
        compared=f"the dense networks, means over {options.seeds} seeds; paper: "
        + "; ".join(f"{name} {before} -> {after}" for name, (before, after) in NETWORKS.items()),
        goal=f"{RATE}x each, mean error within {WITHIN} point",
        met=met,
        commits=state.commits(),
        machines=state.machines(),
    )


def pruner(folder: Path, data_path: str, epochs: int) -> Callable[[tuple[str, int]], dict[str, float]]:
    """Return what prunes a network with a seed: its error in percent before and after, its weights and how many are left."""
    load_keras()
    data = data_named(data_path)
    rounds = 5

    def pruned(one: tuple[str, int]) -> dict[str, float]:
        name, seed = one
        own = max(1, round(epochs * EPOCHS[name]))
        of_round = max(1, own // rounds)
        asked = Asked(
            "magnitude",
            keep=1 / RATE,
            rounds=rounds,
            epochs=of_round,
            final_epochs=own,
            dense_epochs=own,
            dense_rate=RATE_OF_DENSE,
            seed=seed,
        )
        model, trained = model_given(name, data, seed)
        found = run_study(model, trained, asked, data, RECIPE, folder / f"{name}-{seed}", tell=lambda told: figures.say(f"{told}"))
        further = replace(RECIPE, epochs=rounds * of_round + own)
        fit(found.dense, data, further, seed)  # as many steps as the pruned one has behind it
        before, after = (100 * (1 - accuracy_of(model, data.test, data.classes, RECIPE)) for model in (found.dense, found.model))
        kernels = kernels_of(found.model).values()
        left = sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels)
        return {"before": before, "after": after, "weights": sum(int(np.prod(kernel.shape)) for kernel in kernels), "left": left}

    return pruned


if __name__ == "__main__":
    main()
