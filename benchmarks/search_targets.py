"""Where found latencies lie around the target with MnasNet's soft and hard reward, as in its Figure 6, with a picture.

The table is that of `benchmarks.table_accuracy`, which comes first; quality is made up, and rewards depth and width.
"""

from __future__ import annotations

import random
import sys

import numpy as np
import numpy.typing as npt

from benchmarks import figures
from benchmarks.strategies import quality_of
from harness.networks.catalogue import space_named
from harness.report.plots import COLOURS, style
from harness.rewards import Reward, Weighted, hard
from harness.search.policy import Ppo
from harness.search.resources import TableLatency
from harness.search.run import search
from harness.tables.table import LatencyTable

LAST = 0.25
"""The share of trials, the last ones, that tell where a search went."""


def main() -> None:
    """Search with both rewards, several seeds each, and compare."""
    options = figures.arguments(__doc__, space="mnasnet", precision="float32", trials=2000, seeds=3)
    known = figures.FOLDER / f"table_accuracy_{options.precision}" / "table.json"
    if not known.exists():
        sys.exit("the table is missing: run python -m benchmarks.table_accuracy first")
    state = figures.State("search_targets", options, space=options.space, precision=options.precision, trials=str(options.trials))
    space = space_named(options.space)
    resource = TableLatency(LatencyTable.load(known), space)
    generator = np.random.default_rng(0)
    every = np.array([space.sample(random.Random(int(seed))) for seed in generator.integers(0, 1 << 30, 500)])
    target_ms = float(np.median(resource.of(every).values))
    rewards: dict[str, Reward] = {"soft": Weighted({resource.name: target_ms}), "hard": hard({resource.name: target_ms})}
    done = {(row["reward"], row["seed"]) for row in state.rows("run")}
    for seed in range(options.seeds):
        for name, reward in rewards.items():
            if (name, seed) not in done:
                with figures.turn():
                    trials = search(Ppo(space, seed), quality_of(space), [resource], reward, trials=options.trials)
                state.add("run", reward=name, seed=seed, latencies_ms=[trial.used[resource.name] for trial in trials])
    late = {name: shares(state, name, target_ms) for name in rewards}
    figures.table(
        ("reward", "latency / T: 5%", "median", "95%", "within 10% of T", "above T"),
        [
            (
                name,
                *(f"{np.quantile(found, q):.2f}" for q in (0.05, 0.5, 0.95)),
                f"{(abs(found - 1) <= 0.1).mean():.0%}",
                f"{(found > 1).mean():.0%}",
            )
            for name, found in late.items()
        ],
    )
    picture = state.folder / "search_targets.png"
    draw(late, target_ms, picture.as_posix())
    print(f"drawn in {picture}")
    spans = {name: f"{np.quantile(found, 0.05):.2f}-{np.quantile(found, 0.95):.2f}" for name, found in late.items()}
    figures.finish(
        options,
        figure=f"the last {LAST:.0%} of trials lie at {spans['soft']} T with the soft reward, {spans['hard']} T with the hard one",
        compared=f"T {target_ms:.1f} ms, PPO, {options.trials} trials, {options.seeds} seeds; above T {(late['soft'] > 1).mean():.0%} "
        f"and {(late['hard'] > 1).mean():.0%}",
        goal="shown, with the picture",
        met=True,
        commits=state.commits(),
    )


def shares(state: figures.State, reward: str, target_ms: float) -> npt.NDArray[np.float64]:
    """Return the latencies of the last trials of all seeds, over the target."""
    runs = [row["latencies_ms"] for row in state.rows("run") if row["reward"] == reward]
    return np.concatenate([np.array(run[-round(LAST * len(run)) :]) for run in runs]) / target_ms


def draw(late: dict[str, npt.NDArray[np.float64]], target_ms: float, path: str) -> None:
    """Draw both distributions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    style(axes)
    for colour, (name, found) in zip(COLOURS, late.items(), strict=False):
        axes.hist(found * target_ms, bins=60, density=True, histtype="stepfilled", alpha=0.45, color=colour, label=name)
    axes.axvline(target_ms, color="#222222", lw=1, ls="--", label="target")
    axes.set_xlabel("latency of a trial, ms")
    axes.set_ylabel("density")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
