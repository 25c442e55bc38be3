"""A search whose trials sleep on a Ray cluster of this machine with two workers, beside one with one."""

from __future__ import annotations

import random
import statistics
import time
from functools import partial

from benchmarks import figures
from harness.networks.catalogue import space_named
from harness.networks.space import Tokens
from harness.rewards import Weighted
from harness.search.on_ray import OnRay, join, load_ray
from harness.search.resources import MultAdds
from harness.search.run import Quality, search
from harness.search.strategies import RandomSearch

SLEEP_S = 0.5
GOAL = 1.8


def main() -> None:
    """Search with one worker and with two, in turn, and compare."""
    options = figures.arguments(__doc__, space="mnasnet", trials=32, count=3)
    took_s: dict[int, list[float]] = {1: [], 2: []}
    with figures.turn():
        for _ in range(options.count):
            for workers, found in took_s.items():
                found.append(searched_s(options.space, workers, options.trials))
    medians = {workers: statistics.median(found) for workers, found in took_s.items()}
    ratio = medians[1] / medians[2]
    figures.table(
        ("workers", "seconds", "trials per second"),
        [(workers, f"{took:.1f}", f"{options.trials / took:.2f}") for workers, took in medians.items()],
    )
    figures.finish(
        options,
        figure=f"2 workers take {ratio:.2f} times less time",
        compared=f"1 worker, {options.trials} trials that sleep {SLEEP_S:g} s, batches of 16",
        goal=f"{GOAL} or more",
        met=ratio >= GOAL,
    )


def searched_s(space_name: str, workers: int, trials: int) -> float:
    """Return how long a search takes on a fresh cluster with so many workers, all started beforehand."""
    ray, space = load_ray(), space_named(space_name)
    join("local", cpus=workers)
    try:
        quality = OnRay(sleeping, "auto")
        list(quality.each([space.sample(random.Random(seed)) for seed in range(2 * workers)]))
        return figures.taken(
            partial(search, RandomSearch(space), quality, [MultAdds(space)], Weighted({"mult_adds": 3e8}), trials=trials, batch=16)
        )
    finally:
        ray.shutdown()


def sleeping() -> Quality:
    """Return a quality that takes its time, and no processor."""

    def quality(tokens: Tokens) -> float:
        time.sleep(SLEEP_S)
        return 0.5 + sum(tokens) / 1000

    return quality


if __name__ == "__main__":
    main()
