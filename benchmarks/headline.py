"""Networks that a search finds against MobileNetV2 on CIFAR-10: how much less they take on this machine at equal accuracy.

Children are really trained. NSGA-II searches for accuracy and little latency at once; of what it tried the best at each of three targets is
taken. MobileNetV2 is swept over widths and resolutions, its strides fitted to the small input (a final map of 4x4; of three placements the
one that learns best with the first seed, on validation data). All are trained by one recipe, batch norm, first weights and dropout too,
with several seeds, and measured side by side as a table's networks are. At each found network's accuracy the sweep's latency is
interpolated, seed by seed; the interval is Student's, over seeds. A network more accurate than all of the sweep is held against its last.

At the defaults it takes about 5 hours on two cores; on a GPU more trials, images and epochs can be afforded.
"""

from __future__ import annotations

import json
import math
import random
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import figures
from benchmarks.at_once import at_once
from harness.files import whole_file
from harness.measure.stats import student
from harness.networks.blocks import Block, DropoutLayer
from harness.networks.catalogue import space_named
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.networks.space import Space
from harness.rewards import Weighted
from harness.search.train import adapted, train
from harness.search.trial import Trial
from harness.tables import wholes
from harness.tables.listing import network_model
from harness.tables.reading import read
from harness.tables.table import LatencyTable
from harness.training.data import DataSet, data_named, data_of
from harness.training.fit import Recipe

SPACE = "mnasnet_cifar"
WIDTHS, RESOLUTIONS = (0.1, 0.2, 0.35, 0.5), (16, 32)
PLACEMENTS = {16: ((1, 2), (1, 3), (2, 3)), 32: ((1, 2, 3), (1, 2, 4), (2, 3, 4))}
"""Which of MobileNetV2's five strides stay, so that its final map is 4x4."""

TARGETS = (0.25, 0.5, 0.75)
"""Between the least and the largest latency of the sweep, on a logarithmic scale."""

GOAL = 1.5
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Do what is missing of it all, and compare."""
    options = figures.arguments(__doc__, folder="../shared/data", trials=100, images=10_000, epochs=12, seeds=3)
    settings = {name: str(getattr(options, name)) for name in ("trials", "images", "epochs")}
    state = figures.State("headline", options, **settings)
    data = images(state, Path(options.folder), options.images)
    space = adapted(space_named(SPACE), data)
    recipe = Recipe(epochs=options.epochs, learning_rate=0.05, last=1)
    placed = [
        strided(width, resolution, kept, space) for width, resolution in product(WIDTHS, RESOLUTIONS) for kept in PLACEMENTS[resolution]
    ]
    train_all(state, [(network, 0) for network in placed], recipe)
    sweep = best_placed(state, placed)
    measured(state, "of the sweep", sweep)
    table = state.folder / "table.json"
    if not state.rows("table"):
        state.harness("table", "build", SPACE, "--output", str(table))
        state.add("table")
    found = searched(state, space, table, options.trials, options.epochs)
    every = {**sweep, **found}
    train_all(state, [(network, seed) for network in every.values() for seed in range(options.seeds)], recipe)
    measured(state, "side by side", every)
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
        with whole_file(path) as draft, draft.open("wb") as stream:
            np.savez(stream, x_train=pixels[kept], y_train=labels[kept], x_test=whole.test[0], y_test=whole.test[1])
    return loaded(path)


def loaded(path: Path) -> DataSet:
    """Return the images of a .npz file."""
    with np.load(path, allow_pickle=False) as file:
        return data_of("cifar10", dict(file))


def best_placed(state: figures.State, placed: Sequence[Network]) -> dict[str, Network]:
    """Return the network of each width and resolution whose strides are placed so that it learns best."""
    learned = {row["name"]: row["validation"] for row in state.rows("trained") if row["seed"] == 0}
    best: dict[str, Network] = {}
    for network in placed:
        size = network.name.rpartition(",")[0]
        if size not in best or learned[network.name] > learned[best[size].name]:
            best[size] = network
    return {network.name: network for network in best.values()}


def strided(width: float, resolution: int, kept: Sequence[int], space: Space) -> Network:
    """Return MobileNetV2 with these of its five strides, the first that of its stem; set up for training as the space's networks are."""
    network = network_named(f"mobilenet_v2:width={width}")  # all five strides need more pixels than the images have
    like = space.network(space.sample(random.Random(0)))
    blocks: list[Block] = []
    number = 0
    for block in network.blocks:
        if isinstance(block, DropoutLayer):
            continue
        stride = getattr(block, "stride", (1, 1))
        if max(stride) > 1:
            blocks.append(block if number in kept else replace(block, stride=(1, 1)))  # type: ignore[call-arg]  # those with a stride
            number += 1
        else:
            blocks.append(block)
    blocks[-1] = replace(blocks[-1], units=like.blocks[-1].units)  # type: ignore[call-arg,attr-defined]  # dense layers
    name = f"mobilenet_v2:width={width},resolution={resolution},strides={''.join(map(str, kept))}"
    return Network(name, (resolution, resolution, network.input[2]), tuple(blocks), like.training)


def searched(state: figures.State, space: Space, table: Path, trials: int, epochs: int) -> dict[str, Network]:
    """Return the best candidate of one search at each target, by MnasNet's reward."""
    targets_ms = between(state, LatencyTable.load(table), space)
    folder = state.folder / "search"
    asked = ("--space", SPACE, "--table", str(table), "--data", str(state.folder / "cifar10.npz"), "--output", str(folder))
    how = ("--strategy", "nsga2", "--epochs", "2", "--learning-rate", "0.05", "--final-epochs", str(epochs), "--live", "10%")
    if not state.rows("search"):
        state.harness("search", *asked, *how, "--trials", str(trials), "--target-ms", f"{targets_ms[1]:.4f}")
        state.add("search")
    trials_of = (read(Trial, json.loads(line), "a trial") for line in (folder / "trials.jsonl").read_text().splitlines()[1:])
    tried = list({trial.tokens: trial for trial in trials_of}.values())  # of one that was measured, a second line tells that
    found = {}
    for target_ms in targets_ms:
        reward = Weighted({"latency_ms": target_ms})
        worth = [float("-inf") if trial.quality is None else float(reward.of(trial.quality, trial.used)) for trial in tried]
        network = space.network(tried[int(np.argmax(worth))].tokens)
        found[network.name] = network
    return found


def between(state: figures.State, table: LatencyTable, space: Space) -> list[float]:
    """Return the latencies to look for: in the range of the sweep, and of the space."""
    latencies_ms = latencies_of(state, "of the sweep").values()
    generator = random.Random(0)
    every = table.predict_many([space.network(space.sample(generator)) for _ in range(500)]).latency_ms
    low, high = max(min(latencies_ms), float(every.min())), min(max(latencies_ms), float(every.max()))
    return [float(low * (high / low) ** share) for share in TARGETS]


def train_all(state: figures.State, wanted: Sequence[tuple[Network, int]], recipe: Recipe) -> None:
    """Train networks with seeds, those that were not yet."""
    known = {(row["name"], row["seed"]) for row in state.rows("trained")}
    missing = [(network, seed) for network, seed in wanted if (network.name, seed) not in known]
    for (network, seed), found in at_once(partial(trainer, state.folder / "cifar10.npz", recipe), missing):
        state.add("trained", name=network.name, seed=seed, **found)


def trainer(path: Path, recipe: Recipe) -> Callable[[tuple[Network, int]], dict[str, float]]:
    """Return what trains a network with a seed, and tells its accuracies on validation and test data."""
    data = loaded(path)

    def trained(one: tuple[Network, int]) -> dict[str, float]:
        network, seed = one
        found = train(network, data, recipe, seed, tested=True)
        assert found.test_accuracy is not None
        return {"validation": found.accuracies[-1], "test": found.test_accuracy}

    return trained


def measured(state: figures.State, when: str, networks: Mapping[str, Network]) -> None:
    """Measure networks together, as a table's networks are, unless they were."""
    if set(latencies_of(state, when)) == set(networks):
        return
    with figures.turn():
        models = [network_model(network, "float32") for network in networks.values()]
        latencies_ms = [one.latency_ms for one in wholes.measured(models, "local", results=state.folder, fresh=True)]
    state.add(f"latency {when}", latencies_ms=dict(zip(networks, map(float, latencies_ms), strict=True)))


def latencies_of(state: figures.State, when: str) -> dict[str, float]:
    """Return what was measured last."""
    rows = state.rows(f"latency {when}")
    return dict(rows[-1]["latencies_ms"]) if rows else {}


def report(options: figures.Options, state: figures.State, sweep: Sequence[str], found: Sequence[str]) -> None:
    """Print all networks, and how much less the found ones take at equal accuracy."""
    latency_ms = latencies_of(state, "side by side")
    accuracies = {
        name: np.array([row["test"] for row in state.rows("trained") if row["name"] == name])[: options.seeds] for name in (*sweep, *found)
    }
    figures.table(
        ("network", "latency ms", "accuracy", "its seeds"),
        [
            (name, f"{latency_ms[name]:.3f}", f"{values.mean():.4f}", " ".join(f"{value:.4f}" for value in values))
            for name, values in sorted(accuracies.items(), key=lambda item: latency_ms[item[0]])
        ],
    )
    ratios = [faster(accuracies, latency_ms, sweep, name) for name in found]
    lines = [
        f"{name}: {accuracies[name].mean():.1%} in {latency_ms[name]:.2f} ms, {one.said}" for name, one in zip(found, ratios, strict=True)
    ]
    print("\n".join(lines))
    whole = math.exp(float(np.mean([np.mean(one.logs) for one in ratios])))
    figures.finish(
        options,
        figure="; ".join(f"{accuracies[name].mean():.1%} {one.said}" for name, one in zip(found, ratios, strict=True)),
        compared=f"MobileNetV2 at {len(sweep)} widths and resolutions, {options.images} images, {options.epochs} epochs, "
        f"{options.seeds} seeds; one search of {options.trials} trials; {whole:.2f} times less on geometric average",
        goal=f"{GOAL} times faster at equal accuracy",
        met=whole >= GOAL,
        commits=state.commits(),
    )


@dataclass(frozen=True)
class Faster:
    """How many times less a found network takes than the sweep at its accuracy: logarithms, seed by seed, and in words."""

    logs: Floats
    said: str


def faster(accuracies: Mapping[str, Floats], latency_ms: Mapping[str, float], sweep: Sequence[str], name: str) -> Faster:
    """Return how a found network compares."""
    logs, bounds = [], set()
    for seed, wanted in enumerate(accuracies[name]):
        front: list[tuple[float, float]] = []
        for one in sorted(sweep, key=lambda each: latency_ms[each]):
            accuracy = float(accuracies[one][seed])
            if not front or accuracy > front[-1][0]:
                front.append((accuracy, latency_ms[one]))
        known, took_ms = zip(*front, strict=True)
        bounds |= {"at least"} if wanted > known[-1] else {"at most"} if wanted < known[0] else set()
        logs.append(float(np.interp(wanted, known, np.log(took_ms))) - math.log(latency_ms[name]))
    found = np.array(logs)
    half = student(len(found) - 1) * float(np.std(found, ddof=1)) / math.sqrt(len(found))
    low, middle, high = (math.exp(found.mean() + by) for by in (-half, 0.0, half))
    how = f"{' and '.join(sorted(bounds))} " if bounds else ""
    return Faster(found, f"{how}{middle:.2f} times less ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
