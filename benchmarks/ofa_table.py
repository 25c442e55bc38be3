"""What OFA's published latency table for a phone, imported, says of its published network, beside what was published."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks import figures
from harness.tables.adapters import OfaLatencyTable
from harness.tables.ofa_yaml import read_ofa, write_ofa
from harness.tables.table import LatencyTable

PUBLISHED_MS = 29.97
CLAIMED_MS = 30.0


def main() -> None:
    """Import the table, go once through our own file and once through theirs, and predict by each."""
    options = figures.arguments(__doc__, folder="../shared/data/latency_tables")
    folder = figures.ROOT / options.folder
    if not folder.is_dir():
        sys.exit(f"{folder} is no folder: say where OFA's files are by --folder")
    config = json.loads((folder / "ofa_note10_30ms_net.json").read_text())
    size = json.loads((folder / "ofa_note10_30ms_run.json").read_text())["image_size"]
    table = read_ofa(folder / "ofa_note10_224.yaml")
    with tempfile.TemporaryDirectory() as made:
        ours = LatencyTable.load(table.save(Path(made) / "table.json"))
        left_out = write_ofa(ours, Path(made) / "table.yaml")
        again = read_ofa(Path(made) / "table.yaml")
    predicted = {
        name: OfaLatencyTable(one).predict_network_latency_given_config(config, size)
        for name, one in (("imported", table), ("through our file", ours), ("exported and imported", again))
    }
    figures.table(("OFA's 30 ms network by its Note 10 table", "ms"), [(name, f"{ms:.2f}") for name, ms in predicted.items()])
    unknown = sum(row.block is None for row in table.rows)
    figures.finish(
        options,
        figure=f"{predicted['imported']:.2f} ms, of {len(table.rows)} rows {unknown} foreign, {len(left_out)} lost in export",
        compared=f"{CLAIMED_MS:.0f} ms claimed for the network",
        goal=f"{PUBLISHED_MS} ms",
        met={f"{ms:.2f}" for ms in predicted.values()} == {f"{PUBLISHED_MS}"} and not left_out,
    )


if __name__ == "__main__":
    main()
