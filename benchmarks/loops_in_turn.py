"""The agent's timing loop and the plain loop around one interpreter, in turn in one process: prints the ratio of each pair of chunks.

What differs between processes (memory layout, the minute they ran in) is the same on both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from benchmarks.plain_loop import pinned, timed
from latency_agent.timing import SHORTEST_SAMPLE_NS, repeats_for, time_chunk

CHUNK_NS = 60_000_000
LEAST_RUNS = 5


def main() -> None:
    """Pin, load, fill the inputs, warm up, time both loops pair by pair, who is first changing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--pairs", type=int, default=8)
    options = parser.parse_args()
    invoke, clock = pinned(options.model, options.core), time.perf_counter_ns
    repeats = repeats_for(tuple(timed(invoke, clock, 3, 0.05)), SHORTEST_SAMPLE_NS)

    def ours() -> float:
        chunk = time_chunk(invoke, repeats=repeats, least_runs=LEAST_RUNS, least_ns=CHUNK_NS, threads=1)
        return statistics.median(chunk.wall_ns) / repeats

    def plain() -> float:
        return statistics.median(timed(invoke, clock, LEAST_RUNS, CHUNK_NS / 1e9))

    ratios = []
    for pair in range(options.pairs):
        order: tuple[Callable[[], float], ...] = (ours, plain) if pair % 2 == 0 else (plain, ours)
        found = {loop: loop() for loop in order}
        ratios.append(found[ours] / found[plain])
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
