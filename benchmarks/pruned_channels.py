"""Channels removed by NetAdapt and MorphNet against MobileNetV2 made narrower throughout, on CIFAR-10, at equal measured latency.

MobileNetV2's strides are fitted to the small input, as in `benchmarks.headline`. Every final network has as many steps of training behind
it; what a method spends on finding its channels (NetAdapt on cuts that were not taken, MorphNet on shrinking) comes on top. MorphNet is
weighted by mult-adds and by the device's latency table, both with the same share of the resource as their budget. What it finds is trained
from new weights, as in the paper, by which the figure is judged. `--ways 1` measures other ways beside that: "relative" takes scales in
units of their group's, "tuned" spends half of the epochs on shrinking and the others on what is left, whose weights stay, so that nothing
comes on top. All networks of a seed are measured side by side; at each one's latency (and mult-adds) the accuracy of the narrower ones is
interpolated. Intervals are Student's, over seeds. A seed is trained and measured on one machine, by the table of that machine; another seed
may be another machine's.

At the defaults a seed takes 70 to 80 minutes on two slow cores, the table 9; on a GPU more images, epochs and seeds can be afforded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import figures
from benchmarks.at_once import at_once
from benchmarks.headline import SPACE, images, loaded, strided
from harness.measure.stats import student
from harness.networks.catalogue import space_named
from harness.networks.keras_build import build_keras
from harness.networks.layered import network_of_graph
from harness.prune.asked import Asked
from harness.prune.morphnet import MorphNet, norms_of
from harness.prune.netadapt import Budgets
from harness.prune.resources import Kind, resource_of
from harness.prune.structure import Structure
from harness.prune.study import run_study
from harness.search.train import adapted as adapted_space
from harness.tables.layers import LayerTable
from harness.tables.listing import network_model
from harness.tables.table import LatencyTable
from harness.tables.wholes import measured
from harness.training.backend import load_keras
from harness.training.fit import Recipe, fit
from harness.training.saved import load_model, save_model

WIDTH, WIDTHS = 0.5, (0.25, 0.35, 0.5)
NARROWER = {f"narrower {width:g}": width for width in WIDTHS}
MORPHED: dict[str, Kind] = {f"morphnet {kind}": kind for kind in ("mult-adds", "latency")}
"""Arms by their names: the width of those that are narrower throughout, what MorphNet has less of."""

TUNED: dict[str, Kind] = {f"{name} tuned": kind for name, kind in MORPHED.items()}
RELATIVE = "morphnet latency relative"
PRUNED = ("netadapt", *MORPHED)
WAYS = (*TUNED, RELATIVE)
BY_LATENCY = ("netadapt", "morphnet latency", "morphnet latency tuned", RELATIVE)
"""Whose budget is one of latency."""

KEPT = (1, 2, 3)
"""Which of MobileNetV2's five strides stay: its final map is 4x4."""

SHARE = 0.6
BATCHES = 10
SHARES = (0.06, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Of their channels, at which layers are measured: MorphNet leaves few of the 1280 before the classes."""

MULTIPLE = 8
"""Of widths that latency chooses."""

RECIPE = Recipe(batch=128, learning_rate=0.05, label_smoothing=0.0)
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Do what is missing of it all, and compare."""
    options = figures.arguments(__doc__, folder="../shared/data", images=20_000, epochs=6, seeds=3, ways=0)
    pruned = (*PRUNED, *WAYS) if options.ways else PRUNED
    settings = {"images": str(options.images), "epochs": str(options.epochs)}
    state = figures.State("pruned_channels", options, **settings)
    whole = figures.TrainedState("pruned_channels_ways" if options.ways else "pruned_channels", options, **settings)
    missing = sorted(set(range(options.seeds)) - {row["seed"] for row in whole.rows("seed")})
    if missing:
        images(state, Path(options.folder), options.images)
    for seed in missing:
        whole.add("seed", seed=seed, arms=[asdict(arm) for arm in arms_of(state, options.epochs, seed, pruned)])
    report(options, whole, pruned)


@dataclass(frozen=True)
class Arm:
    """A network as it ended up with a seed; the latency of a pruned one is predicted, of widths below the table's as of the narrowest."""

    name: str
    accuracy: float
    mult_adds: int
    predicted_ms: float | None
    latency_ms: float


def arms_of(state: figures.State, epochs: int, seed: int, pruned: Sequence[str]) -> list[Arm]:
    """Do what is missing of a seed: the device's table, its trainings, then the latencies of all of its networks."""
    study = partial(Study, state.folder, epochs)
    if not state.rows("table"):
        (state.folder / "base.toml").write_text(study().base.to_toml())
        how = ("--layers", "--widths", ",".join(map(str, SHARES)), "--output", str(state.folder / "table.json"))
        state.harness("table", "build", "--network", str(state.folder / "base.toml"), *how)
        state.add("table")
    done = {row["name"] for row in state.rows("trained") if row["seed"] == seed}
    for (name, _), found in at_once(study, [(name, seed) for name in (*pruned, *reversed(NARROWER)) if name not in done]):
        state.add("trained", name=name, seed=seed, accuracy=found)
    accuracy = {row["name"]: row["accuracy"] for row in state.rows("trained") if row["seed"] == seed}
    table = table_in(state.folder)
    structures = {name: Structure(load_model(state.folder / file_of(name, seed))) for name in (*NARROWER, *pruned)}
    latency_ms = latencies_ms(structures, state.folder)
    arms = []
    for name, structure in structures.items():
        predicted_ms = None
        if name in pruned:  # narrower ones have additions that the table's network has not
            latency = table.latency(structure.channels)
            predicted_ms = latency.of(latency.nearest(structure.widths))
        arms.append(Arm(name, accuracy[name], structure.graph.costs().mult_adds, predicted_ms, latency_ms[name]))
    return arms


def table_in(folder: Path) -> LayerTable:
    """Return the device's table."""
    return LayerTable(LatencyTable.load(folder / "table.json"))


def file_of(name: str, seed: int) -> str:
    """Return the name of an arm's file."""
    return f"{name.replace(' ', '-')}-{seed}.keras"


class Study:
    """What trains one arm after the other, in a process of its own."""

    def __init__(self, folder: Path, epochs: int) -> None:
        """Take the folder with the images and the table, in which arms are kept, and the epochs that each ends up with."""
        load_keras()
        self._folder, self._epochs = folder, epochs
        self._data = loaded(folder / "cifar10.npz")
        self._like = adapted_space(space_named(SPACE), self._data)
        self.base = strided(WIDTH, 32, KEPT, self._like)

    def __call__(self, one: tuple[str, int]) -> float:
        """Return the accuracy of one arm with one seed; its file is kept."""
        name, seed = one
        if name in NARROWER:
            model = build_keras(strided(NARROWER[name], 32, KEPT, self._like), seed=seed)
            accuracy = self._trained(model, seed, self._epochs)
        elif name in MORPHED:
            model = self._expanded(MORPHED[name], seed)
            accuracy = self._trained(model, seed, self._epochs)
        elif name == RELATIVE:
            model = self._expanded("latency", seed, relative=True)
            accuracy = self._trained(model, seed, self._epochs)
        elif name in TUNED:
            model = self._shrunk(TUNED[name], seed)
            accuracy = self._trained(model, seed, self._epochs - self._epochs // 2)
        else:
            model, accuracy = self._adapted(seed)
        save_model(model, self._folder / file_of(name, seed))
        return accuracy

    def _adapted(self, seed: int) -> tuple[Any, float]:
        """Return what NetAdapt makes of MobileNetV2: half of the epochs before, the others after and in its steps."""
        model = build_keras(self.base, seed=seed)
        structure, table = Structure(model), table_in(self._folder)
        target = SHARE * table.latency(structure.channels).of(structure.widths)
        of_epoch = math.ceil(len(self._data.train[0]) / RECIPE.batch)
        asked = Asked(
            "netadapt",
            target=target,
            batches=BATCHES,
            dense_epochs=self._epochs // 2,
            final_epochs=0,
            budgets=Budgets(0.06, 0.98, 8),
            seed=seed,
        )
        folder = self._folder / f"netadapt-{seed}"
        found = run_study(model, False, asked, self._data, RECIPE, folder, table, lambda told: figures.say(f"{told}"))
        steps = len(list(folder.glob("step-*.keras")))
        left = self._epochs * of_epoch - (self._epochs // 2) * of_epoch - steps * BATCHES
        if left < 1:
            sys.exit(f"{self._epochs} epochs are over after {steps} steps of {BATCHES} batches: give more --epochs")
        accuracy = fit(found.model, self._data, RECIPE, seed, steps=left, tested=True).test_accuracy
        assert accuracy is not None
        return found.model, accuracy

    def _expanded(self, kind: Kind, seed: int, *, relative: bool = False) -> Any:
        """Return what MorphNet finds, untrained: all epochs went into shrinking. `relative` scales are in units of their group's."""
        morph, budget = self._morphed(kind, seed, self._epochs)
        if relative:
            normalize(morph)
        return morph.expanded(budget)

    def _shrunk(self, kind: Kind, seed: int) -> Any:
        """Return what MorphNet finds, with its weights: half of the epochs went into shrinking."""
        morph, budget = self._morphed(kind, seed, self._epochs // 2)
        return morph.shrunk(budget)

    def _morphed(self, kind: Kind, seed: int, epochs: int) -> tuple[MorphNet, float]:
        """Return MorphNet on what has shrunk from MobileNetV2, and its budget; the file of what has shrunk stays."""

        def morphing(model: Any) -> tuple[MorphNet, float]:
            structure = Structure(model)
            resource = resource_of(kind, structure, table_in(self._folder))
            amount = resource.of(structure.widths)
            return MorphNet(structure, resource, 3.0 / amount, multiple=MULTIPLE if kind == "latency" else 1), SHARE * amount

        file = self._folder / f"morphing-{kind}-{epochs}-{seed}.keras"
        if not file.exists():
            model = build_keras(self.base, seed=seed)
            morph, _ = morphing(model)
            fit(model, self._data, replace(RECIPE, epochs=epochs), seed, callbacks=[morph.callback()])
            morph.remove()
            save_model(model, file)
        return morphing(load_model(file))

    def _trained(self, model: Any, seed: int, epochs: int) -> float:
        """Train a model; returns its accuracy on the test set."""
        accuracy = fit(model, self._data, replace(RECIPE, epochs=epochs), seed, tested=True).test_accuracy
        assert accuracy is not None
        return accuracy


def normalize(morph: MorphNet) -> None:
    """Bring the scales of each group's living channels to a root mean square of 1."""
    for number, norms in norms_of(morph.structure).items():
        scales = morph.scales(number)[morph.kept()[number]]
        for norm in norms:
            norm.gamma.assign(norm.gamma / np.sqrt(np.mean(scales**2)))


def latencies_ms(structures: Mapping[str, Structure], results: Path) -> dict[str, float]:
    """Return the latency of each network, measured as a table's networks are."""
    networks = [network_of_graph(name, structure.graph, structure.output) for name, structure in structures.items()]
    with figures.turn():
        taken = measured([network_model(network, "float32") for network in networks], "local", results=results)
    return {name: one.latency_ms for name, one in zip(structures, taken, strict=True)}


def report(options: figures.Options, state: figures.State, pruned: Sequence[str]) -> None:
    """Print all arms, and how much more accurate the pruned ones are than narrower ones of their latency and of their mult-adds."""
    seeds = [{arm["name"]: Arm(**arm) for arm in row["arms"]} for row in state.rows("seed") if row["seed"] < options.seeds]
    arms = {name: [seed[name] for seed in seeds] for name in (*NARROWER, *pruned)}
    figures.table(
        ("network", "latency ms", "mult-adds M", "accuracy", "its seeds"),
        [
            (
                name,
                f"{np.mean([arm.latency_ms for arm in own]):.3f}",
                f"{np.mean([arm.mult_adds for arm in own]) / 1e6:.2f}",
                f"{np.mean([arm.accuracy for arm in own]):.4f}",
                " ".join(f"{arm.accuracy:.4f}" for arm in own),
            )
            for name, own in arms.items()
        ],
    )
    said, gains = [], {}
    for name in pruned:
        for by in ("latency", "mult-adds"):
            gain = gains[name, by] = gained(seeds, name, by)
            said.append(f"{name} at equal {by} {points(gain.by_seed)}{gain.bound}")
    print("\n".join(said))
    budgeted = [arm for name in BY_LATENCY if name in pruned for arm in arms[name]]
    off = np.array([arm.predicted_ms / arm.latency_ms - 1 for arm in budgeted if arm.predicted_ms is not None])
    predicted = f"predicted latency of {len(off)} off by {np.abs(off).mean():.1%} on average, at most {np.abs(off).max():.1%}"
    of_latency, of_mult_adds = (gains[f"morphnet {kind}", "latency"] for kind in ("latency", "mult-adds"))
    between = of_latency.by_seed - of_mult_adds.by_seed
    asked = (("netadapt", "latency"), ("morphnet latency", "latency"), ("morphnet mult-adds", "mult-adds"))
    better = all(interval(gains[one].by_seed)[0] > 0 and "at most" not in gains[one].bound for one in asked) and interval(between)[0] > 0
    figures.finish(
        options,
        figure="; ".join((*said, predicted)),
        compared=f"MobileNetV2 at widths {', '.join(f'{width:g}' for width in WIDTHS)}, {options.images} images, {options.epochs} epochs, "
        f"{options.seeds} seeds; latency over mult-adds as MorphNet's resource {points(between)} at equal latency"
        f"{of_latency.bound}{of_mult_adds.bound}",
        goal="higher accuracy at equal latency, by latency more than by mult-adds; predicted within 5%",
        met=bool(better and np.abs(off).max() <= 0.05),
        commits=state.commits(),
        machines=state.machines(),
    )


@dataclass(frozen=True)
class Gain:
    """How much more accurate an arm is, seed by seed, and whether that is a bound."""

    by_seed: Floats
    bound: str


def gained(seeds: Sequence[Mapping[str, Arm]], name: str, by: str) -> Gain:
    """Return how much more accurate an arm is than a narrower network with as much of the resource, by interpolation.

    One with less than the narrowest has gained at least as much as over that, one with more than the widest at most.
    """

    def amount(arm: Arm) -> float:
        return arm.latency_ms if by == "latency" else arm.mult_adds

    found, bounds = [], set()
    for arms in seeds:
        arm = arms[name]
        amounts, accuracies = zip(*sorted((amount(arms[narrower]), arms[narrower].accuracy) for narrower in NARROWER), strict=True)
        bounds |= {"at least"} if amount(arm) < amounts[0] else {"at most"} if amount(arm) > amounts[-1] else set()
        found.append(arm.accuracy - float(np.interp(np.log(amount(arm)), np.log(amounts), accuracies)))
    return Gain(np.array(found), f" ({' and '.join(sorted(bounds))})" if bounds else "")


def points(gains: Floats) -> str:
    """Return the mean over seeds with its interval, in points."""
    low, high = interval(gains)
    return f"{100 * gains.mean():+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"


def interval(gains: Floats) -> tuple[float, float]:
    """Return the 95% interval of the mean over seeds, Student's; one seed bounds nothing."""
    if len(gains) < 2:
        return -math.inf, math.inf
    half = student(len(gains) - 1) * float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()) - half, float(gains.mean()) + half


if __name__ == "__main__":
    main()
