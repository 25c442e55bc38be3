"""Channels removed by NetAdapt and MorphNet against MobileNetV2 made narrower throughout, on CIFAR-10, at equal measured latency.

MobileNetV2's strides are fitted to the small input, as in `benchmarks.headline`. Every final network has as many steps of training behind
it; what a method spends on finding its channels (NetAdapt on cuts that were not taken, MorphNet on shrinking) comes on top. MorphNet is
weighted by mult-adds and by the device's latency table, both with the same share of the resource as their budget. All networks are measured
side by side; at each one's latency (and mult-adds) the accuracy of the narrower ones is interpolated. Intervals are Student's, over seeds.

At the defaults it takes about 6 hours on two cores; on a GPU more images, epochs and seeds can be afforded.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import figures
from benchmarks.headline import SPACE, images, strided
from harness.measure.stats import student
from harness.networks.catalogue import space_named
from harness.networks.keras_build import build_keras
from harness.networks.layered import network_of_graph
from harness.networks.network import Network
from harness.prune.asked import Asked
from harness.prune.morphnet import MorphNet
from harness.prune.netadapt import Budgets
from harness.prune.resources import Kind, resource_of
from harness.prune.structure import Structure
from harness.prune.study import run_study
from harness.search.train import adapted as adapted_space
from harness.tables.layers import LayerTable
from harness.tables.listing import network_model
from harness.tables.table import LatencyTable
from harness.tables.wholes import measured_ms
from harness.training.backend import load_keras
from harness.training.data import DataSet
from harness.training.fit import Recipe, fit
from harness.training.saved import load_model, save_model

WIDTH, WIDTHS = 0.5, (0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
KEPT = (1, 2, 3)
"""Which of MobileNetV2's five strides stay: its final map is 4x4."""

SHARE = 0.6
BATCHES = 20
SHARES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
MULTIPLE = 8
"""Of widths that latency chooses."""

RECIPE = Recipe(batch=128, learning_rate=0.05, label_smoothing=0.0)
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Do what is missing of it all, and compare."""
    options = figures.arguments(__doc__, folder="../shared/data", images=10_000, epochs=12, seeds=3)
    state = figures.State("pruned_channels", options, images=str(options.images), epochs=str(options.epochs))
    load_keras()
    data = images(state, Path(options.folder), options.images)
    like = adapted_space(space_named(SPACE), data)
    base = strided(WIDTH, 32, KEPT, like)
    (state.folder / "base.toml").write_text(base.to_toml())
    path = state.folder / "table.json"
    if not state.rows("table"):
        how = ("--layers", "--widths", ",".join(map(str, SHARES)), "--output", str(path))
        state.harness("table", "build", "--network", str(state.folder / "base.toml"), *how)
        state.add("table")
    table = LayerTable(LatencyTable.load(path))
    for seed in range(options.seeds):
        for width in WIDTHS:
            arm(
                state,
                f"narrower {width:g}",
                seed,
                lambda width=width, seed=seed: whole(strided(width, 32, KEPT, like), seed, data, options.epochs),
            )
        arm(state, "netadapt", seed, lambda seed=seed: adapted(state, base, seed, data, table, options.epochs))
        for kind in ("mult-adds", "latency"):
            arm(state, f"morphnet {kind}", seed, lambda seed=seed, kind=kind: morphed(base, kind, seed, data, table, options.epochs))
    measure(state)
    report(options, state)


def arm(state: figures.State, name: str, seed: int, make: Any) -> None:
    """Train one network unless it was, keep its accuracy and its file, and go on in a new process: TensorFlow keeps memory of each."""
    if any((row["name"], row["seed"]) == (name, seed) for row in state.rows("trained")):
        return
    with figures.turn():
        model, predicted_ms, accuracy = make()
    structure = Structure(model)
    save_model(model, state.folder / file_of(name, seed))
    mult_adds = structure.graph.costs().mult_adds
    state.add("trained", name=name, seed=seed, accuracy=accuracy, mult_adds=mult_adds, predicted_ms=predicted_ms)
    given = [argument for argument in sys.argv[1:] if argument != "--restart"]
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.pruned_channels", *given])  # noqa: S606 - this command itself


def file_of(name: str, seed: int) -> str:
    """Return the name of an arm's file."""
    return f"{name.replace(' ', '-')}-{seed}.keras"


Arm = tuple[Any, float | None, float]


def whole(network: Network, seed: int, data: DataSet, epochs: int) -> Arm:
    """Return a network, trained for all epochs."""
    return trained(build_keras(network, seed=seed), None, seed, data, epochs)


def adapted(state: figures.State, base: Network, seed: int, data: DataSet, table: LayerTable, epochs: int) -> Arm:
    """Return what NetAdapt makes of MobileNetV2: half of the epochs before, the others after and in its steps."""
    model = build_keras(base, seed=seed)
    structure = Structure(model)
    target = SHARE * table.latency(structure.channels).of(structure.widths)
    of_epoch = math.ceil(len(data.train[0]) / RECIPE.batch)
    asked = Asked(
        "netadapt",
        target=target,
        batches=BATCHES,
        dense_epochs=epochs // 2,
        final_epochs=0,
        budgets=Budgets(0.06, 0.98, 8),
        seed=seed,
    )
    found = run_study(
        "base", model, False, asked, data, RECIPE, state.folder / f"netadapt-{seed}", table, lambda told: figures.say(f"{told}")
    )
    after = Structure(found.model)
    predicted_ms = table.latency(after.channels).of(after.widths)
    steps = len(list((state.folder / f"netadapt-{seed}").glob("step-*.keras")))
    left = epochs * of_epoch - (epochs // 2) * of_epoch - steps * BATCHES
    if left < 1:
        sys.exit(f"{epochs} epochs are over after {steps} steps of {BATCHES} batches: give more --epochs")
    accuracy = fit(found.model, data, RECIPE, seed, steps=left, tested=True).test_accuracy
    assert accuracy is not None
    return found.model, predicted_ms, accuracy


def morphed(base: Network, kind: Kind, seed: int, data: DataSet, table: LayerTable, epochs: int) -> Arm:
    """Return what MorphNet makes of MobileNetV2, trained from new weights for all epochs."""
    model = build_keras(base, seed=seed)
    structure = Structure(model)
    resource = resource_of(kind, structure.channels, table)
    amount = resource.of(structure.widths)
    morph = MorphNet(structure, resource, 3.0 / amount, multiple=MULTIPLE if kind == "latency" else 1)
    fit(model, data, replace(RECIPE, epochs=epochs), seed, callbacks=[morph.callback()])
    final = morph.expanded(SHARE * amount)
    after = Structure(final)
    latency = table.latency(after.channels)
    predicted_ms = latency.of(after.widths) if latency.covers(after.widths) else None  # mult-adds bind widths to no table
    return trained(final, predicted_ms, seed, data, epochs)


def trained(model: Any, predicted_ms: float | None, seed: int, data: DataSet, epochs: int) -> Arm:
    """Return a model trained for so many epochs, with its accuracy on the test set."""
    accuracy = fit(model, data, replace(RECIPE, epochs=epochs), seed, tested=True).test_accuracy
    assert accuracy is not None
    return model, predicted_ms, accuracy


def measure(state: figures.State) -> None:
    """Measure what was not, as a table's networks are."""
    known = {(row["name"], row["seed"]) for row in state.rows("latency")}
    missing = [(row["name"], row["seed"]) for row in state.rows("trained") if (row["name"], row["seed"]) not in known]
    if not missing:
        return
    networks = {}
    for name, seed in missing:
        structure = Structure(load_model(state.folder / file_of(name, seed)))
        networks[name, seed] = network_of_graph(f"{name} {seed}", structure.graph, structure.output)
    with figures.turn():
        latencies_ms = measured_ms([network_model(network, "float32") for network in networks.values()], "local", results=state.folder)
    for (name, seed), latency_ms in zip(networks, latencies_ms, strict=True):
        state.add("latency", name=name, seed=seed, latency_ms=latency_ms)


def report(options: figures.Options, state: figures.State) -> None:
    """Print all arms, and how much more accurate the pruned ones are than narrower ones of their latency and of their mult-adds."""
    latency_ms = {(row["name"], row["seed"]): row["latency_ms"] for row in state.rows("latency")}
    rows = [row for row in state.rows("trained") if row["seed"] < options.seeds]
    names = list(dict.fromkeys(row["name"] for row in rows))
    arms = {name: [row for row in rows if row["name"] == name] for name in names}
    figures.table(
        ("network", "latency ms", "mult-adds M", "accuracy", "its seeds"),
        [
            (
                name,
                f"{np.mean([latency_ms[name, row['seed']] for row in own]):.3f}",
                f"{np.mean([row['mult_adds'] for row in own]) / 1e6:.2f}",
                f"{np.mean([row['accuracy'] for row in own]):.4f}",
                " ".join(f"{row['accuracy']:.4f}" for row in own),
            )
            for name, own in arms.items()
        ],
    )
    said, gains = [], {}
    for name in names:
        if name.startswith("narrower"):
            continue
        for by in ("latency", "mult-adds"):
            gain = gains[name, by] = gained(arms, latency_ms, name, by)
            said.append(f"{name} at equal {by} {points(gain.by_seed)}{gain.bound}")
    print("\n".join(said))
    by_latency = ("netadapt", "morphnet latency")
    off = [row["predicted_ms"] / latency_ms[row["name"], row["seed"]] - 1 for name in by_latency for row in arms[name]]
    of_latency, of_mult_adds = (gains[f"morphnet {kind}", "latency"] for kind in ("latency", "mult-adds"))
    between = of_latency.by_seed - of_mult_adds.by_seed
    asked = (("netadapt", "latency"), ("morphnet latency", "latency"), ("morphnet mult-adds", "mult-adds"))
    better = all(interval(gains[one].by_seed)[0] > 0 and "at most" not in gains[one].bound for one in asked) and interval(between)[0] > 0
    figures.finish(
        options,
        figure="; ".join(said) + f"; predicted latency off by {np.abs(off).mean():.1%} on average, at most {np.abs(off).max():.1%}",
        compared=f"MobileNetV2 at widths {', '.join(f'{width:g}' for width in WIDTHS)}, {options.images} images, {options.epochs} epochs, "
        f"{options.seeds} seeds; latency over mult-adds as MorphNet's resource {points(between)} at equal latency"
        f"{of_latency.bound}{of_mult_adds.bound}",
        goal="higher accuracy at equal latency, by latency more than by mult-adds; predicted within 5%",
        met=bool(better and np.abs(off).max() <= 0.05),
        commits=state.commits(),
    )


@dataclass(frozen=True)
class Gain:
    """How much more accurate an arm is, seed by seed, and whether that is a bound."""

    by_seed: Floats
    bound: str


def gained(arms: Mapping[str, list[dict[str, Any]]], latency_ms: Mapping[tuple[str, int], float], name: str, by: str) -> Gain:
    """Return how much more accurate an arm is than a narrower network with as much of the resource, by interpolation.

    One with less than the narrowest has gained at least as much as over that, one with more than the widest at most.
    """

    def amount(row: dict[str, Any]) -> float:
        return float(latency_ms[row["name"], row["seed"]] if by == "latency" else row["mult_adds"])

    found, bounds = [], set()
    for row in arms[name]:
        sweep = sorted(
            (amount(other), other["accuracy"])
            for other_name, own in arms.items()
            if other_name.startswith("narrower")
            for other in own
            if other["seed"] == row["seed"]
        )
        amounts, accuracies = zip(*sweep, strict=True)
        bounds |= {"at least"} if amount(row) < amounts[0] else {"at most"} if amount(row) > amounts[-1] else set()
        found.append(row["accuracy"] - float(np.interp(np.log(amount(row)), np.log(amounts), accuracies)))
    return Gain(np.array(found), f" ({' and '.join(sorted(bounds))})" if bounds else "")


def points(gains: Floats) -> str:
    """Return the mean over seeds with its interval, in points."""
    low, high = interval(gains)
    return f"{100 * gains.mean():+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"


def interval(gains: Floats) -> tuple[float, float]:
    """Return the 95% interval of the mean over seeds, Student's."""
    half = student(len(gains) - 1) * float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()) - half, float(gains.mean()) + half


if __name__ == "__main__":
    main()
