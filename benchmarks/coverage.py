"""How many results' 95% intervals hold the truth: the median of processes spread over the same time."""

from __future__ import annotations

import math
import statistics
import sys
from collections import Counter
from typing import Any

from benchmarks import figures

SHARES = (0.90, 0.98)
HALF_WIDTH = 0.03


def main() -> None:
    """Take the results and truth processes that are missing, in turn, then count."""
    options = figures.arguments(__doc__, model="mobilenet_v2", count=100, truths=60, minutes=60.0, aa_pairs=40)
    state = figures.State("coverage", options, model=options.model)
    if len(state.rows("result")) + len(state.rows("truth")) < options.count + options.truths:
        state.refuse_after_a_pause()
    state.set_up(options.model, options.aa_pairs)
    for _ in figures.paced(options.minutes, options.count + options.truths, len(state.rows("result")) + len(state.rows("truth"))):
        results, truths = len(state.rows("result")), len(state.rows("truth"))
        if truths * options.count <= results * options.truths and truths < options.truths:
            take_truth(state, options.model)
        else:
            take_result(state, options.model)
    report(options, state)


def take_truth(state: figures.State, name: str) -> None:
    """Measure one process, kept apart from the results' store.

    Like a result it is started by an invocation of its own: from one process that had been there for long, workers measured 1.7% more.
    """
    argv = [sys.executable, "-m", "benchmarks.one_repetition", name, str(state.folder / "truth")]
    state.add("truth", ns=float(figures.output(argv)))


def take_result(state: figures.State, name: str) -> None:
    """Take one result at default settings."""
    result = state.bench(name)
    fields = ("latency_ms", "latency_corrected_ms", "interval_ms", "interval_scope", "processes", "verdict")
    state.add("result", **{field: result[field] for field in fields})


def report(options: figures.Options, state: figures.State) -> None:
    """Print what the intervals hold, by verdict and by half of the time, and the closing line."""
    truths = state.column("truth", "ns")
    truth = statistics.median(truths) / 1e6
    results = state.rows("result")
    intervals = [row["interval_ms"] for row in results]
    held = [interval is not None and interval[0] <= truth <= interval[1] for interval in intervals]
    half_widths = [half_width_of(row) for row in results]
    without = intervals.count(None)
    half = len(results) // 2
    groups = {"all": held, "first half": held[:half], "second half": held[half:]}
    for verdict in Counter(row["verdict"] for row in results):
        groups[verdict] = [hold for hold, row in zip(held, results, strict=True) if row["verdict"] == verdict]
    figures.table(
        ("results", "number", "hold the truth"),
        [(name, len(part), f"{sum(part) / max(1, len(part)):.0%}") for name, part in groups.items()],
    )
    share, half_width = sum(held) / len(held), statistics.median(half_widths)
    cvs = [figures.cv(values) for values in (truths, state.column("result", "latency_ms"))]
    figures.finish(
        options,
        figure=f"{sum(held)} of {len(held)} intervals hold the truth ({share:.0%}; {without} results without one), "
        f"median half-width {half_width:.1%}, over {state.span('result', 'truth')}",
        compared=f"the median of {len(truths)} processes, {truth:.4f} ms; CV of processes {cvs[0]:.1%}, of results {cvs[1]:.1%}",
        goal=f"{SHARES[0]:.0%} to {SHARES[1]:.0%}, half-width {HALF_WIDTH:.0%} or less",
        met=SHARES[0] <= share <= SHARES[1] and half_width <= HALF_WIDTH,
        commits=state.commits(),
    )


def half_width_of(row: dict[str, Any]) -> float:
    """Return the interval's half-width over the latency; no interval is one without bounds."""
    if row["interval_ms"] is None:
        return math.inf
    low, high = row["interval_ms"]
    return float((high - low) / 2 / row["latency_ms"])


if __name__ == "__main__":
    main()
