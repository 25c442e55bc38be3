"""How much `latency_corrected_ms` varies over invocations minutes apart, against the median of ai-edge-litert's own tool in alternation.

The tool runs as it comes; once more beside it on our core with as many runs as ours, for whom that matters. Who goes first changes from
round to round. A corrected latency rests on the baseline of its moment, which moves while sessions are few; beside it stands what
`harness results` says afterwards, of all by the last baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import figures, rigs, tool

COLUMNS = {
    "corrected": "latency_corrected_ms",
    "raw": "latency_ms",
    "tool as it comes": "tool_ms",
    "tool on our core": "tool_long_ms",
}
GOAL = 0.5


def main() -> None:
    """Take the invocations that are missing, then compare the variations."""
    options = figures.arguments(__doc__, model="mobilenet_v2", count=20, minutes=20.0)
    state = figures.State("repeatability", options, model=options.model)
    if len(state.rows("round")) < options.count:
        state.refuse_after_a_pause()
    state.set_up(options.model)
    with figures.turn():
        model = rigs.models([options.model])[0]
    if not state.rows("like"):  # what the tool is to do as we do; known before the first round, in which it may go first
        result = state.bench(options.model)
        state.add("like", core=result["core"], runs=result["runs"])
    like = state.rows("like")[0]
    for position in figures.paced(options.minutes, options.count, len(state.rows("round"))):
        ways: list[Callable[[], dict[str, Any]]] = [
            lambda: ours(state, options.model),
            lambda: {"tool_ms": tool.median_ms(model.path)},
            lambda: {"tool_long_ms": tool.median_ms(model.path, (like["core"],), runs=like["runs"])},
        ]
        found: dict[str, Any] = {}
        for way in ways if position % 2 == 0 else reversed(ways):
            found |= way()
        state.add("round", **found)
    columns = {name: state.column("round", field) for name, field in COLUMNS.items()}
    with figures.turn():
        stored = {row["measurement_id"]: row["latency_corrected_ms"] for row in state.harness("results")}
    columns["corrected by the last baseline"] = [stored[number] for number in state.column("round", "measurement_id")]
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
        figure=f"CV of latency_corrected_ms {cvs['corrected']:.2%} over {state.span('round')}",
        compared=", ".join(f"{name} {value:.2%}" for name, value in cvs.items() if name != "corrected"),
        goal="under half of the CV of the tool as it comes",
        met=cvs["corrected"] < GOAL * cvs["tool as it comes"],
        commits=state.commits(),
    )


def ours(state: figures.State, model: str) -> dict[str, Any]:
    """Return what a round keeps of one benchmark."""
    result = state.bench(model)
    return {field: result[field] for field in ("latency_corrected_ms", "latency_ms", "elasticity", "verdict", "measurement_id")}


if __name__ == "__main__":
    main()
