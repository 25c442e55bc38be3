"""How much the ratio that `harness compare` reports varies over invocations, beside the ratio of two separate benchmarks."""

from __future__ import annotations

import statistics

from benchmarks import figures
from harness.measure.alternation import PROCESSES

GOAL = 0.005


def main() -> None:
    """Take the invocations that are missing, then compare the variations."""
    options = figures.arguments(__doc__, model="mobilenet_v2", against="mobilenet_v2:width=0.75", count=20, processes=PROCESSES)
    state = figures.State(f"compare_ratio_{options.processes}", options, model=options.model, against=options.against)
    state.set_up(options.model)
    for _ in range(len(state.rows("round")), options.count):
        with figures.turn():
            compared = state.harness("compare", options.model, options.against, "--processes", str(options.processes))
            a, b = state.bench(options.model), state.bench(options.against)
        state.add(
            "round",
            ratio=compared["ratio"],
            half_width=(compared["interval"][1] - compared["interval"][0]) / 2 / compared["ratio"],
            separate=b["latency_ms"] / a["latency_ms"],
            separate_corrected=b["latency_corrected_ms"] / a["latency_corrected_ms"],
            verdict=compared["verdict"],
        )
    columns = {
        "compare": state.column("round", "ratio"),
        "two benchmarks": state.column("round", "separate"),
        "two benchmarks, corrected": state.column("round", "separate_corrected"),
    }
    medians = {name: statistics.median(values) for name, values in columns.items()}
    cvs = {name: figures.cv(values) for name, values in columns.items()}
    figures.table(
        ("ratio", "median", "least", "most", "CV"),
        [
            (name, f"{medians[name]:.4f}", f"{min(values):.4f}", f"{max(values):.4f}", f"{cvs[name]:.2%}")
            for name, values in columns.items()
        ],
    )
    print(f"median half-width of the interval that compare reports: {statistics.median(state.column('round', 'half_width')):.2%}")
    off = medians["compare"] / medians["two benchmarks"] - 1
    beside = ", ".join(f"{name} {value:.2%}" for name, value in cvs.items() if name != "compare")
    figures.finish(
        options,
        figure=f"CV of the ratio {cvs['compare']:.2%}",
        compared=f"ratio of {beside}; compare's median {off:+.2%} off the raw one",
        goal=f"{GOAL:.1%} or less",
        met=cvs["compare"] <= GOAL,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
