"""What strategies find at equal budget on a quality that is known: it rewards depth and width, with less and less for more.

Latency is predicted by a table whose rows are made up from mult-adds, so that all of it can be gone through without a device. Each strategy
runs with several seeds; beside each stands random search with the same seed. NSGA-II is told quality and latency apart, and is judged by
the hypervolume up to twice the target and down to the least quality of 200 random candidates. REINFORCE stands there with the learning rate
of its paper, at which it searches by default, and with one for fewer trials.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import numpy as np

from benchmarks import figures
from benchmarks.table_speed import table_of
from harness.networks.catalogue import space_named
from harness.networks.space import Space, Tokens
from harness.rewards import Weighted
from harness.search.front import hypervolume, pareto_front
from harness.search.optuna_search import OptunaSearch, sampler_named
from harness.search.policy import Ppo, Reinforce
from harness.search.resources import TableLatency
from harness.search.run import search
from harness.search.strategies import RandomSearch, RegularizedEvolution
from harness.search.trial import Strategy, Trial

STRATEGIES: dict[str, Callable[[Space, int], Strategy]] = {
    "random": RandomSearch,
    "evolution": RegularizedEvolution,
    "reinforce": Reinforce,
    "reinforce, rate 0.005": lambda space, seed: Reinforce(space, seed, learning_rate=0.005),
    "ppo": Ppo,
    "nsga2": lambda space, seed: OptunaSearch(space, sampler_named("nsga2", seed), ("quality", "latency_ms")),
}
MOST = 2.0
"""Times the target: that of the hypervolume's reference point."""
SAMPLED = 200
GOAL = 0.9


def main() -> None:
    """Run what is missing of every strategy and seed, and compare."""
    options = figures.arguments(__doc__, space="mnasnet", trials=2000, seeds=10)
    state = figures.State("strategies", options, space=options.space, trials=str(options.trials))
    space = space_named(options.space)
    table = table_of(space, random.Random(0))
    resource = TableLatency(table, space)
    sampled = [space.sample(random.Random(seed)) for seed in range(SAMPLED)]
    target_ms, least = float(np.median(resource.of(np.array(sampled)).values)), min(map(quality_of(space), sampled))
    reward = Weighted({resource.name: target_ms})
    done = {(row["strategy"], row["seed"]) for row in state.rows("run")}
    for seed in range(options.seeds):
        for name, make in STRATEGIES.items():
            if (name, seed) not in done:
                with figures.turn():
                    trials = search(make(space, seed), quality_of(space), [resource], reward, trials=options.trials)
                best, volume = judged(trials, resource.name, target_ms, least)
                state.add("run", strategy=name, seed=seed, best=best, volume=volume)
    found = {name: [row for row in state.rows("run") if row["strategy"] == name] for name in STRATEGIES}
    wins = {name: won(rows, found["random"], "volume" if name == "nsga2" else "best") for name, rows in found.items()}
    figures.table(
        ("strategy", "best reward", "its least", "hypervolume", "seeds above random"),
        [
            (
                name,
                f"{statistics.median(row['best'] for row in rows):.4f}",
                f"{min(row['best'] for row in rows):.4f}",
                f"{statistics.median(row['volume'] for row in rows):.4f}",
                "" if name == "random" else f"{wins[name]} of {len(rows)}",
            )
            for name, rows in found.items()
        ],
    )
    others = [name for name in STRATEGIES if name != "random"]
    figures.finish(
        options,
        figure=", ".join(f"{name} {wins[name]} of {len(found[name])}" for name in others),
        compared=f"random search, {options.trials} trials each, T {target_ms:.1f} ms; nsga2 by hypervolume up to {MOST:g} T and "
        f"down to a quality of {least:.3f}",
        goal=f"above random in {GOAL:.0%} of the seeds",
        met=all(wins[name] >= GOAL * len(found[name]) for name in others),
        commits=state.commits(),
    )


def quality_of(space: Space) -> Callable[[Tokens], float]:
    """Return a made-up accuracy: it grows with the logarithm of parameters and of mult-adds, and a little with each kernel of 5."""

    def quality(tokens: Tokens) -> float:
        costs = space.costs(tokens)
        blocks = space.network(tokens).blocks
        large = sum(getattr(block, "kernel", (1, 1))[0] >= 5 for block in blocks) / len(blocks)
        return float(0.60 + 0.02 * np.log(costs.parameters / 1e6) + 0.03 * np.log(costs.mult_adds / 1e8) + 0.02 * large)

    return quality


def judged(trials: tuple[Trial, ...], resource: str, target_ms: float, least: float) -> tuple[float, float]:
    """Return the best reward, and the hypervolume of the front down to the quality `least`."""
    best = max(trial.reward for trial in trials if trial.reward is not None)
    return best, hypervolume(pareto_front(trials, resource), resource, MOST * target_ms, least)


def won(rows: list[dict[str, float]], random_rows: list[dict[str, float]], by: str) -> int:
    """Return with how many seeds a strategy came out above random search with the same seed."""
    against = {row["seed"]: row[by] for row in random_rows}
    return sum(row[by] > against[row["seed"]] for row in rows)


if __name__ == "__main__":
    main()
