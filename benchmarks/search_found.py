"""What searches find, predicted against measured: an optimum is where a table errs in a search's favour.

For each of several targets evolution searches with the table of `benchmarks.table_accuracy`, which comes first, and a made-up quality,
with several seeds; the best candidate of each search is measured on this machine. So each of them was found by a search of its own.
"""

from __future__ import annotations

import random
import sys

import numpy as np

from benchmarks import figures
from benchmarks.strategies import quality_of
from harness.networks.catalogue import space_named
from harness.rewards import Absolute
from harness.search.resources import TableLatency
from harness.search.run import search
from harness.search.strategies import RegularizedEvolution
from harness.search.trial import best_of
from harness.tables.table import LatencyTable

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Targets, as quantiles of what random candidates are predicted."""

WITHIN = 0.05
GOAL = 0.95


def main() -> None:
    """Search for each target, measure what was found, and compare."""
    options = figures.arguments(__doc__, space="mnasnet", precision="float32", trials=1000, seeds=8)
    known = figures.FOLDER / f"table_accuracy_{options.precision}" / "table.json"
    if not known.exists():
        sys.exit("the table is missing: run python -m benchmarks.table_accuracy first")
    state = figures.State("search_found", options, space=options.space, precision=options.precision, trials=str(options.trials))
    space, table = space_named(options.space), LatencyTable.load(known)
    resource = TableLatency(table, space)
    every = resource.of(np.array([space.sample(random.Random(seed)) for seed in range(500)])).values
    searches = [(target_ms, seed) for target_ms in np.quantile(every, QUANTILES).tolist() for seed in range(options.seeds)]
    for target_ms, seed in searches[len(state.rows("search")) :]:
        reward = Absolute({resource.name: target_ms})
        with figures.turn():
            best = best_of(search(RegularizedEvolution(space, seed), quality_of(space), [resource], reward, trials=options.trials))
        assert best is not None
        state.add("search", target_ms=target_ms, found=space.network(best.tokens).name)
    names = list(dict.fromkeys(row["found"] for row in state.rows("search")))
    if not state.rows("measured"):
        named = [argument for name in names for argument in ("--network", name)]
        found = state.harness("table", "validate", str(known), *named, accepted=(0, 1))
        pairs = {one["name"]: (one["prediction"]["latency_ms"], one["measured_ms"]) for one in found["networks"]}
        state.add("measured", pairs=pairs)
    pairs = state.rows("measured")[0]["pairs"]
    off = np.array([predicted / measured - 1 for predicted, measured in pairs.values()])
    of_target: dict[float, list[float]] = {}
    for row in state.rows("search"):
        predicted, measured = pairs[row["found"]]
        of_target.setdefault(row["target_ms"], []).append(predicted / measured - 1)
    figures.table(
        ("target ms", "searches", "off on average", "on the whole"),
        [
            (f"{target_ms:.1f}", len(found), f"{np.abs(found).mean():.1%}", f"{np.mean(found):+.1%}")
            for target_ms, found in of_target.items()
        ],
    )
    share = float((np.abs(off) <= WITHIN).mean())
    figures.finish(
        options,
        figure=f"{share:.0%} of {len(off)} found candidates within {WITHIN:.0%}, {np.abs(off).mean():.1%} off on average, "
        f"{off.mean():+.1%} on the whole",
        compared=f"measured on `local`; {len(QUANTILES)} targets, {options.seeds} seeds, evolution, {options.trials} trials each",
        goal=f"within {WITHIN:.0%} for {GOAL:.0%}",
        met=share >= GOAL,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
