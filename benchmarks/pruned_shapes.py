"""Every network of the zoo with random channels really removed, beside the same network with their weights masked.

What goes into the last softmax is compared, relative to the largest of it: probabilities of 1,000 classes would be small in any case.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import figures
from harness.networks.catalogue import network_files
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.prune.structure import Structure
from harness.training.backend import load_keras

SMALLEST = {"alexnet": 67, "lenet_300_100": 28, "lenet_5": 28}
RESOLUTION = 64
KEPT = 0.6
GOAL = 1e-5


def main() -> None:
    """Compare what is missing of the zoo."""
    options = figures.arguments(__doc__, seeds=3)
    state = figures.State("pruned_shapes", options, seeds=str(options.seeds), compared="logits")
    load_keras()
    from keras import layers

    done = {row["name"] for row in state.rows("network")}
    for name in sorted(set(network_files()) - done):
        model = build_keras(network_named(f"{name}:resolution={SMALLEST.get(name, RESOLUTION)}"))
        generator = np.random.default_rng(0)
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
        structure = Structure(model)
        images = generator.random((8, *model.input_shape[1:]), np.float32)
        worst = 0.0
        for seed in range(options.seeds):
            dice = np.random.default_rng(seed)
            kept = {}
            for number, width in enumerate(structure.widths):
                kept[number] = dice.random(width) < KEPT
                kept[number][dice.integers(width)] = True
            first, second = (logits_of(one, images) for one in (structure.shrunk(kept), structure.masked(kept)))
            off = float(np.abs(first - second).max() / np.abs(second).max())
            if not math.isfinite(off):
                sys.exit(f"{name}: its logits are no numbers")
            worst = max(worst, off)
        state.add("network", name=name, groups=len(structure.groups), worst=worst, whole=len(structure.whole))
    rows = state.rows("network")
    figures.table(
        ("network", "groups of channels", "layers left whole", "worst difference"),
        [(row["name"], row["groups"], row["whole"], f"{row['worst']:.1e}") for row in rows],
    )
    worst = max(row["worst"] for row in rows)
    figures.finish(
        options,
        figure=f"logits within {worst:.1e} of the largest for {len(rows)} networks, {options.seeds} random masks each that keep {KEPT:.0%}",
        compared="the same networks with the weights of those channels zero",
        goal=f"{GOAL:.0e}",
        met=worst <= GOAL,
        commits=state.commits(),
    )


def logits_of(model: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what a classifier's last layer, a softmax, reads."""
    import keras

    return np.asarray(keras.Model(model.inputs, model.layers[-1].input).predict(images, verbose=0))


if __name__ == "__main__":
    main()
