"""Networks that searches find against MobileNetV2 on CIFAR-10: how much less they take on this machine at equal accuracy.

Children are really trained. MobileNetV2 is swept over widths and resolutions, its strides fitted to the small input (a final map of 4x4 or
more; of three placements the one that learns best with the first seed). All are trained by one recipe with several seeds, and measured as a
table's networks are. At each found network's accuracy the sweep's latency is interpolated; the interval is of bootstraps over seeds.

At the defaults it takes about 6 hours on two cores; on a GPU more trials, images and epochs can be afforded.
"""

from __future__ import annotations

import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import figures
from harness.networks.blocks import Block
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.networks.space import Space
from harness.networks.space_file import read_space
from harness.search.train import adapted, train
from harness.tables.listing import network_model
from harness.tables.table import LatencyTable
from harness.tables.wholes import measured_ms
from harness.training.data import DataSet, data_named, data_of
from harness.training.fit import Recipe

SPACE = """
title = "MnasNet's choices on small images"
input = [32, 32, 3]
stem = [{type = "conv", filters = 16, kernel = 3, activation = "relu"}]
stages = [
  {filters = [8, 12, 16], layers = [1, 2]},
  {filters = [16, 24, 32], layers = [1, 2, 3], stride = 2},
  {filters = [24, 32, 48], layers = [1, 2, 3], stride = 2},
  {filters = [48, 64, 96], layers = [1, 2, 3], stride = 2},
]
head = [{type = "conv", filters = 192, activation = "relu"}, {type = "global_pool"}, {type = "dense", units = 10, activation = "softmax"}]
[choices]
op = ["conv", "separable", {type = "mbconv", expansion = 3}, {type = "mbconv", expansion = 6}]
kernel = [3, 5]
se = [0, 0.25]
skip = ["identity", "none"]
[fixed]
activation = "relu"
"""
WIDTHS, RESOLUTIONS = (0.25, 0.35, 0.5), (24, 32)
PLACEMENTS = {24: ((1, 3), (2, 3), (2, 4)), 32: ((1, 2, 3), (1, 2, 4), (2, 3, 4))}
"""Which of MobileNetV2's five strides stay, so that its final map is 6x6 or 4x4."""

TARGETS = (0.25, 0.5, 0.75)
"""Targets of the searches, between the least and the largest latency of the sweep, on a logarithmic scale."""

GOAL = 1.5
BOOTSTRAPS = 10_000
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Do what is missing of it all, and compare."""
    options = figures.arguments(__doc__, folder="../shared/data", trials=60, images=10_000, epochs=15, seeds=3)
    settings = {name: str(getattr(options, name)) for name in ("trials", "images", "epochs")}
    state = figures.State("headline", options, **settings)
    data = images(state, Path(options.folder), options.images)
    space_file = state.folder / "small.toml"
    space_file.write_text(SPACE)
    space = adapted(read_space(space_file), data)
    recipe = Recipe(epochs=options.epochs, learning_rate=0.05, last=1)
    sweep = swept(state, data, recipe)
    measured(state, sweep)
    table = state.folder / "table.json"
    if not table.exists():
        state.harness("table", "build", str(space_file), "--output", str(table))
    found = searched(state, space, table, options.trials)
    measured(state, found)
    for name, network in {**sweep, **found}.items():
        for seed in range(options.seeds):
            accuracy_of(state, name, network, data, recipe, seed)
    report(options, state, list(sweep), list(found))


def images(state: figures.State, folder: Path, count: int) -> DataSet:
    """Return so many of CIFAR-10's images to train with, and all of the test set; they lie in a .npz file after the first time."""
    path = state.folder / "cifar10.npz"
    if not path.exists():
        with tarfile.open(folder / "cifar10_jpeg.tar.xz") as archive:
            archive.extractall(state.folder / "images", filter="data")
        whole = data_named(str(state.folder / "images"))
        labels = np.concatenate([whole.train[1], whole.validation[1]])
        pixels = np.concatenate([whole.train[0], whole.validation[0]])
        kept = np.random.default_rng(0).permutation(len(pixels))[:count]
        np.savez(path, x_train=pixels[kept], y_train=labels[kept], x_test=whole.test[0], y_test=whole.test[1])
    with np.load(path, allow_pickle=False) as file:
        return data_of("cifar10", dict(file))


def swept(state: figures.State, data: DataSet, recipe: Recipe) -> dict[str, Network]:
    """Return MobileNetV2 at each width and resolution, its strides placed as learns best."""
    chosen = {}
    for width, resolution in product(WIDTHS, RESOLUTIONS):
        placed = {str(kept): strided(width, resolution, kept, data.classes) for kept in PLACEMENTS[resolution]}
        learned = {name: accuracy_of(state, network.name, network, data, recipe, 0) for name, network in placed.items()}
        best = placed[max(learned, key=lambda name: learned[name])]
        chosen[best.name] = best
    return chosen


def strided(width: float, resolution: int, kept: Sequence[int], classes: int) -> Network:
    """Return MobileNetV2 with these of its five strides, the first one that of its stem."""
    network = network_named(f"mobilenet_v2:width={width},resolution={resolution}")
    blocks: list[Block] = []
    number = 0
    for block in network.blocks:
        stride = getattr(block, "stride", (1, 1))
        if max(stride) > 1:
            blocks.append(block if number in kept else replace(block, stride=(1, 1)))  # type: ignore[call-arg]  # those with a stride
            number += 1
        else:
            blocks.append(block)
    blocks[-1] = replace(blocks[-1], units=classes)  # type: ignore[call-arg]  # a dense layer
    name = f"mobilenet_v2:width={width},resolution={resolution},strides={''.join(map(str, kept))}"
    return Network(name, network.input, tuple(blocks), network.training)


def searched(state: figures.State, space: Space, table: Path, trials: int) -> dict[str, Network]:
    """Return the best candidate of a search for each target."""
    found = {}
    for target_ms in targets_ms(state, LatencyTable.load(table), space):
        folder = state.folder / f"search-{target_ms:.3f}"
        asked = ("--space", str(state.folder / "small.toml"), "--table", str(table), "--data", str(state.folder / "cifar10.npz"))
        how = ("--strategy", "mnasnet", "--reward", "absolute", "--epochs", "2", "--learning-rate", "0.05", "--final-epochs", "0")
        told = state.harness(
            "search", *asked, *how, "--trials", str(trials), "--target-ms", f"{target_ms:.4f}", "--live", "10%", "--output", str(folder)
        )
        network = space.network(tuple(told["best"]["tokens"]))
        found[network.name] = network
    return found


def targets_ms(state: figures.State, table: LatencyTable, space: Space) -> list[float]:
    """Return the latencies to search for: in the range of the sweep, and of the space."""
    latencies_ms = [row["latency_ms"] for row in state.rows("latency") if row["name"].startswith("mobilenet")]
    generator = random.Random(0)
    every = table.predict_many([space.network(space.sample(generator)) for _ in range(500)]).latency_ms
    low, high = max(min(latencies_ms), float(every.min())), min(max(latencies_ms), float(every.max()))
    return [float(low * (high / low) ** share) for share in TARGETS]


def accuracy_of(state: figures.State, name: str, network: Network, data: DataSet, recipe: Recipe, seed: int) -> float:
    """Return a network's accuracy on the test set, trained now unless it was."""
    for row in state.rows("trained"):
        if (row["name"], row["seed"]) == (name, seed):
            return float(row["accuracy"])
    accuracy = train(network, data, recipe, seed, tested=True).test_accuracy
    assert accuracy is not None
    state.add("trained", name=name, seed=seed, accuracy=accuracy)
    return accuracy


def measured(state: figures.State, networks: Mapping[str, Network]) -> None:
    """Measure what was not, as a table's networks are."""
    known = {row["name"] for row in state.rows("latency")}
    missing = {name: network for name, network in networks.items() if name not in known}
    if not missing:
        return
    with figures.turn():
        models = [network_model(network, "float32") for network in missing.values()]
        latencies_ms = measured_ms(models, "local", results=state.folder)
    for name, latency_ms in zip(missing, latencies_ms, strict=True):
        state.add("latency", name=name, latency_ms=latency_ms, mult_adds=missing[name].costs.mult_adds)


def report(options: figures.Options, state: figures.State, sweep: Sequence[str], found: Sequence[str]) -> None:
    """Print all networks, and how much less the found ones take at equal accuracy."""
    latency_ms = {row["name"]: row["latency_ms"] for row in state.rows("latency")}
    accuracies = {
        name: np.array([row["accuracy"] for row in state.rows("trained") if row["name"] == name])[: options.seeds]
        for name in (*sweep, *found)
    }
    figures.table(
        ("network", "latency ms", "accuracy", "its seeds"),
        [
            (name, f"{latency_ms[name]:.3f}", f"{values.mean():.4f}", " ".join(f"{value:.4f}" for value in values))
            for name, values in sorted(accuracies.items(), key=lambda item: latency_ms[item[0]])
        ],
    )
    lines = []
    ratios = {}
    generator = np.random.default_rng(0)
    for name in found:
        ratio = faster(accuracies, latency_ms, sweep, name, None)
        drawn = [faster(accuracies, latency_ms, sweep, name, generator) for _ in range(BOOTSTRAPS)]
        known = np.array([one for one in drawn if one is not None])
        if ratio is None or len(known) < BOOTSTRAPS / 2:
            lines.append(f"{name}: beyond the sweep's accuracies")
            continue
        ratios[name] = ratio
        low, high = np.quantile(known, (0.025, 0.975))
        lines.append(f"{name}: {ratio:.2f} times less than MobileNetV2 at its accuracy ({low:.2f} to {high:.2f})")
    print("\n".join(lines))
    best = max(ratios.values(), default=float("nan"))
    figures.finish(
        options,
        figure="; ".join(lines),
        compared=f"MobileNetV2 at {len(sweep)} widths and resolutions, {options.images} images, {options.epochs} epochs, "
        f"{options.seeds} seeds; {options.trials} trials a search",
        goal=f"{GOAL} times faster at equal accuracy",
        met=bool(ratios) and best >= GOAL,
        commits=state.commits(),
    )


def faster(
    accuracies: Mapping[str, Floats],
    latency_ms: Mapping[str, float],
    sweep: Sequence[str],
    name: str,
    generator: np.random.Generator | None,
) -> float | None:
    """Return how many times longer the sweep takes at a found network's accuracy; None beyond its range. A generator draws seeds anew."""

    def mean(of: str) -> float:
        values = accuracies[of]
        return float(values.mean() if generator is None else generator.choice(values, len(values)).mean())

    front: list[tuple[float, float]] = []
    for one in sorted(sweep, key=lambda each: latency_ms[each]):
        accuracy = mean(one)
        if not front or accuracy > front[-1][0]:
            front.append((accuracy, latency_ms[one]))
    known, took_ms = zip(*front, strict=True)
    wanted = mean(name)
    if not known[0] <= wanted <= known[-1]:
        return None
    return float(np.exp(np.interp(wanted, known, np.log(took_ms))) / latency_ms[name])


if __name__ == "__main__":
    main()
