"""LeNet-300-100 and LeNet-5 on MNIST with a twelfth of their weights (Han et al. 2015), beside the same networks whole.

Both are trained for as many steps: the whole one goes on, from the same weights and at the same rate, for as long as the other is pruned.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import figures
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

RATE = 12
WITHIN = 0.1
RATE_OF_DENSE = 0.05
RECIPE = Recipe(batch=64, learning_rate=RATE_OF_DENSE / 10, weight_decay=1e-4, label_smoothing=0.0, flip=False, pad=0)
"""Retrained at a tenth of the rate, as the paper has it for the LeNets."""


def main() -> None:
    """Do what is missing of it all, and compare."""
    options = figures.arguments(__doc__, folder="../shared/data", seeds=3, epochs=30)
    state = figures.State("han_lenets", options, epochs=str(options.epochs))
    load_keras()
    data = data_named(str(Path(options.folder) / "mnist.npz"))
    done = {(row["network"], row["seed"]) for row in state.rows("pruned")}
    for name in NETWORKS:
        for seed in range(options.seeds):
            if (name, seed) in done:
                continue
            rounds, of_round = 5, max(1, options.epochs // 5)
            asked = Asked(
                "magnitude",
                keep=1 / RATE,
                rounds=rounds,
                epochs=of_round,
                final_epochs=options.epochs,
                dense_epochs=options.epochs,
                dense_rate=RATE_OF_DENSE,
                seed=seed,
            )
            model, trained = model_given(name, data, seed)
            folder = state.folder / f"{name}-{seed}"
            with figures.turn():
                found = run_study(name, model, trained, asked, data, RECIPE, folder, tell=lambda told: figures.say(f"{told}"))
                further = replace(RECIPE, epochs=rounds * of_round + options.epochs)
                fit(found.dense, data, further, seed)  # as many steps as the pruned one has behind it
                errors = [100 * (1 - accuracy_of(one, data.test, data.classes, RECIPE)) for one in (found.dense, found.model)]
            left = sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels_of(found.model).values())
            whole = sum(int(np.prod(kernel.shape)) for kernel in kernels_of(found.model).values())
            state.add("pruned", network=name, seed=seed, before=errors[0], after=errors[1], weights=whole, left=left)
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
    )


if __name__ == "__main__":
    main()
