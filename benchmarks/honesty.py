"""How often a comparison of a model with itself claims a difference, at 95%."""

from __future__ import annotations

import statistics
import sys

from benchmarks import figures

BATCH = 10
LEAST = 3
NOMINAL = 0.05
GOAL = 0.08


def main() -> None:
    """Take the batches that are missing, then count the wrong claims."""
    options = figures.arguments(__doc__, model="mobilenet_v2", count=200)
    state = figures.State("honesty", options, model=options.model)
    state.set_up(options.model)
    while (missing := options.count - int(sum(state.column("batch", "pairs")))) > 0:
        pairs = max(LEAST, min(BATCH, missing))
        found = state.harness("aa", options.model, "--pairs", str(pairs))  # one that fails ends this: its claims must not go uncounted
        if found["pairs"] != pairs:
            sys.exit(f"of {pairs} pairs {found['pairs']} were counted")
        fields = ("pairs", "false_positives", "smallest_difference", "between_visit_spread")
        state.add("batch", **{field: found[field] for field in fields})
    pairs, wrong = (int(sum(state.column("batch", field))) for field in ("pairs", "false_positives"))
    smallest = statistics.median(state.column("batch", "smallest_difference"))
    figures.finish(
        options,
        figure=f"{wrong} wrong claims in {pairs} A/A comparisons ({wrong / pairs:.1%})",
        compared=f"{NOMINAL * pairs:.0f} nominal; the smallest difference found nine times of ten: {smallest:.2%}",
        goal=f"{int(GOAL * pairs)} or fewer",
        met=wrong <= int(GOAL * pairs),
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
