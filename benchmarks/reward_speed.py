"""How many candidates are rewarded per second from their tokens, the prediction by a latency table included, beside predictions alone."""

from __future__ import annotations

import random
import statistics

import numpy as np

from benchmarks import figures
from benchmarks.table_speed import table_of
from harness.networks.catalogue import space_named
from harness.rewards import Weighted
from harness.search.resources import TableLatency

GOAL = 100_000
BATCH = 10_000
T_MS = 20.0


def main() -> None:
    """Reward fresh candidates, batch by batch."""
    options = figures.arguments(__doc__, space="mnasnet", count=20)
    space, generator = space_named(options.space), random.Random(0)
    resource, reward = TableLatency(table_of(space, generator), space), Weighted({"latency_ms": T_MS})

    def speed(rewarding: bool) -> float:
        tokens = np.array([space.sample(generator) for _ in range(BATCH)])
        qualities = np.array([generator.random() for _ in range(BATCH)])
        if rewarding:
            return BATCH / figures.taken(lambda: reward.of(qualities, {resource.name: resource.of(tokens).values}))
        return BATCH / figures.taken(lambda: resource.of(tokens))

    with figures.turn():
        speed(True)  # fills what is remembered
        rewarded, predicted = zip(*((speed(True), speed(False)) for _ in range(options.count)), strict=True)
    ours, theirs = statistics.median(rewarded), statistics.median(predicted)
    figures.table(
        ("candidates per second", "median", "least", "goal"),
        [
            (f"rewarded, batches of {BATCH}", f"{ours:,.0f}", f"{min(rewarded):,.0f}", f"{GOAL:,}"),
            ("predicted alone", f"{theirs:,.0f}", f"{min(predicted):,.0f}", ""),
        ],
    )
    figures.finish(
        options,
        figure=f"{ours:,.0f} rewards per second from tokens",
        compared=f"{theirs:,.0f} predictions alone",
        goal=f"{GOAL:,}",
        met=ours >= GOAL,
    )


if __name__ == "__main__":
    main()
