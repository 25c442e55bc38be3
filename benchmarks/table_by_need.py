"""What half the time gives where it is spent by need: a table built so, beside the one that took all of it.

Both are held against the same candidates, as they were measured with the whole table (`benchmarks.table_accuracy`, which comes first).
"""

from __future__ import annotations

import json
import sys

from benchmarks import figures
from benchmarks.table_accuracy import TRUTH, cells
from harness.networks.named import network_named
from harness.tables.held_out import judge
from harness.tables.table import LatencyTable

SHARE = 0.5


def main() -> None:
    """Build the second table, and hold both against the candidates."""
    options = figures.arguments(__doc__, space="mnasnet", precision="float32")
    known = figures.FOLDER / f"table_accuracy_{options.precision}"
    if not (known / TRUTH).exists():
        sys.exit("the whole table is missing: run python -m benchmarks.table_accuracy first")
    whole = LatencyTable.load(known / "table.json")
    assert whole.origin.began_at is not None
    assert whole.origin.ended_at is not None
    truth = json.loads((known / TRUTH).read_text())
    whole_s = (whole.origin.ended_at - whole.origin.began_at).total_seconds()
    state = figures.State("table_by_need", options, space=options.space, precision=options.precision)
    path = state.folder / "table.json"
    if not state.rows("build"):
        asked = (options.space, "--precision", options.precision, "--output", str(path))
        took_s = figures.taken(lambda: state.harness("table", "build", *asked, "--max-time", f"{SHARE * whole_s:.0f}"))
        state.add("build", took_s=took_s)
    networks, measured_ms = [network_named(name) for name in truth], list(truth.values())
    half, full = (judge(table.predict_many(networks), measured_ms) for table in (LatencyTable.load(path), whole))
    figures.table(
        ("candidates predicted by", "MAPE", "within 5%", "within 10%", "bias", "tau", "in the interval"),
        [("the whole table", *cells(full)), (f"{SHARE:.0%} of the time, by need", *cells(half))],
    )
    figures.finish(
        options,
        figure=f"{SHARE:.0%} of the time by need: MAPE {half.mape:.1%}, {half.within_5:.0%} / {half.within_10:.0%} within 5% / 10%",
        compared=f"all of it ({whole_s / 60:.0f} min): MAPE {full.mape:.1%}, {full.within_5:.0%} / {full.within_10:.0%}",
        goal="told",
        met=True,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
