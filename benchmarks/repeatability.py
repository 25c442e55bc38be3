"""How much `latency_corrected_ms` varies over invocations minutes apart, against the median of ai-edge-litert's own tool in alternation.

The tool runs as it does by itself; once more beside it on our core with as many runs as ours, for whom that matters.
"""

from __future__ import annotations

from benchmarks import figures, rigs, tool

COLUMNS = {
    "corrected": "latency_corrected_ms",
    "raw": "latency_ms",
    "tool": "tool_ms",
    "tool, our core and runs": "tool_long_ms",
}
GOAL = 0.5


def main() -> None:
    """Take the invocations that are missing, then compare the variations."""
    options = figures.arguments(__doc__, model="mobilenet_v2", count=20, minutes=20.0)
    state = figures.State("repeatability", options, model=options.model)
    state.set_up(options.model)
    model = rigs.models([options.model])[0]
    pace = figures.Pace(options.minutes, options.count)
    for _ in range(len(state.rows("round")), options.count):
        pace.wait()
        result = state.bench(options.model)
        state.add(
            "round",
            latency_corrected_ms=result["latency_corrected_ms"],
            latency_ms=result["latency_ms"],
            tool_ms=tool.median_ms(model.path),
            tool_long_ms=tool.median_ms(model.path, (result["core"],), runs=result["runs"]),
            verdict=result["verdict"],
        )
    columns = {name: state.column("round", field) for name, field in COLUMNS.items()}
    cvs = {name: figures.cv(values) for name, values in columns.items()}
    figures.table(
        ("over invocations", "mean ms", "least", "most", "CV"),
        [
            (name, f"{sum(values) / len(values):.3f}", f"{min(values):.3f}", f"{max(values):.3f}", f"{cvs[name]:.2%}")
            for name, values in columns.items()
        ],
    )
    figures.finish(
        options,
        figure=f"CV of latency_corrected_ms {cvs.pop('corrected'):.2%}",
        compared=", ".join(f"{name} {value:.2%}" for name, value in cvs.items()),
        goal="under half of the tool's CV",
        met=figures.cv(columns["corrected"]) < GOAL * cvs["tool"],
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
