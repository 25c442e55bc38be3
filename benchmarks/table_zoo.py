"""Networks of the zoo predicted from one table: MobileNets and MnasNets of many widths and resolutions, beside raw sums.

The table holds the blocks of all of them (`harness table build --network`); some networks calibrate it, the others are held out.
"""

from __future__ import annotations

import random
from itertools import product

import numpy as np

from benchmarks import figures
from benchmarks.table_accuracy import cells
from harness.networks.named import network_named
from harness.tables.held_out import judge
from harness.tables.table import LatencyTable

NAMES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mnasnet_a1", "mnasnet_b1", "mnasnet_small")
WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)
RESOLUTIONS = (96, 128, 160, 192, 224)
CALIBRATING = 20
GOAL = 0.95


def main() -> None:
    """Build the table, and hold the networks against it."""
    options = figures.arguments(__doc__, networks=40)
    state = figures.State("table_zoo", options, networks=str(options.networks))
    path = state.folder / "table.json"
    if not state.rows("build"):
        every = [f"{name}:width={width},resolution={resolution}" for name, width, resolution in product(NAMES, WIDTHS, RESOLUTIONS)]
        chosen = random.Random(0).sample(every, CALIBRATING + options.networks)
        named = [argument for name in chosen for argument in ("--network", name)]
        asked = (*named, "--held-out", str(options.networks), "--output", str(path))
        state.add("build", took_s=figures.taken(lambda: state.harness("table", "build", *asked)))
    table = LatencyTable.load(path)
    assert table.held_out is not None
    truth = table.held_out.measured
    measured_ms = [one.measured_ms for one in truth]
    networks = [network_named(one.name) for one in truth]
    found = judge(table.predict_many(networks), measured_ms)
    raw = judge(LatencyTable(table.origin, table.rows).predict_many(networks), measured_ms)
    figures.table(
        ("networks predicted by", "MAPE", "within 5%", "within 10%", "bias", "tau", "in the interval"),
        [("the table", *cells(found)), ("raw sum (OFA)", *cells(raw))],
    )
    print(f"{len(table.rows)} rows; networks of {np.min(measured_ms):.2f} to {np.max(measured_ms):.1f} ms")
    figures.finish(
        options,
        figure=f"{found.within_10:.0%} of {len(truth)} within 10%, {found.within_5:.0%} within 5%, MAPE {found.mape:.1%}",
        compared=f"raw sum {raw.within_10:.0%} within 10%, MAPE {raw.mape:.1%}; repeatability {table.held_out.repeatability:.1%}",
        goal=f"{GOAL:.0%} within 10%",
        met=found.within_10 >= GOAL,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
