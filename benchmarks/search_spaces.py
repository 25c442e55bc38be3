"""MnasNet's factorized hierarchical space beside a flat one, where every layer chooses for itself, at equal budget (its Table 5).

The latency of a block is made up from its mult-adds, as there are too many in the flat space to measure; one table serves both spaces, as
the flat one holds the other's blocks. Quality is made up too, and rewards depth and width.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import numpy as np

from benchmarks import figures
from benchmarks.strategies import SAMPLED, judged, quality_of
from benchmarks.table_speed import table_of
from harness.networks.catalogue import space_named
from harness.rewards import Weighted
from harness.search.policy import Ppo
from harness.search.resources import TableLatency
from harness.search.run import search


def main() -> None:
    """Search both spaces with several seeds, and compare."""
    options = figures.arguments(__doc__, space="mnasnet", trials=2000, seeds=5)
    state = figures.State("search_spaces", options, space=options.space, trials=str(options.trials))
    factorized = space_named(options.space)
    flat = replace(factorized, name="flat", stages=tuple(replace(stage, per_layer=True) for stage in factorized.stages))
    table = table_of(flat, random.Random(0))
    latency = {space.name: TableLatency(table, space) for space in (factorized, flat)}
    sampled = [factorized.sample(random.Random(seed)) for seed in range(SAMPLED)]
    target_ms = float(np.median(latency[factorized.name].of(np.array(sampled)).values))
    least = min(map(quality_of(factorized), sampled))
    done = {(row["space"], row["seed"]) for row in state.rows("run")}
    for seed in range(options.seeds):
        for space in (factorized, flat):
            if (space.name, seed) not in done:
                resource = latency[space.name]
                with figures.turn():
                    reward = Weighted({resource.name: target_ms})
                    trials = search(Ppo(space, seed), quality_of(space), [resource], reward, trials=options.trials)
                best, volume = judged(trials, resource.name, target_ms, least)
                state.add("run", space=space.name, seed=seed, best=best, volume=volume)
    found = {space.name: [row for row in state.rows("run") if row["space"] == space.name] for space in (factorized, flat)}
    figures.table(
        ("space", "candidates", "tokens", "best reward", "hypervolume"),
        [
            (
                space.name,
                f"{space.size:.2g}",
                len(space.positions),
                *(f"{median_of(found[space.name], by):.4f}" for by in ("best", "volume")),
            )
            for space in (factorized, flat)
        ],
    )
    wins = sum(ours["best"] > theirs["best"] for ours, theirs in zip(found[factorized.name], found["flat"], strict=True))
    figures.finish(
        options,
        figure=f"best reward {median_of(found[factorized.name], 'best'):.4f} factorized, {median_of(found['flat'], 'best'):.4f} flat",
        compared=f"PPO, {options.trials} trials each, T {target_ms:.1f} ms; "
        f"the factorized space came first with {wins} of {options.seeds} seeds",
        goal="shown",
        met=True,
        commits=state.commits(),
    )


def median_of(rows: list[dict[str, float]], by: str) -> float:
    """Return the median over seeds."""
    return statistics.median(row[by] for row in rows)


if __name__ == "__main__":
    main()
