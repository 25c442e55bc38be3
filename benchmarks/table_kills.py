"""A table's build killed at random moments and started again, beside an undisturbed one: rows, their processes, what the store holds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import figures
from harness.measure.store import Store
from harness.tables.table import LatencyTable

NETWORKS = tuple(f"mobilenet_v2:width={width},resolution={size}" for width in (0.35, 0.5, 0.75) for size in (96, 128))
TOGETHER = 0.9
"""All kills together come after so much of what the undisturbed build takes, so that none comes too late."""


def main() -> None:
    """Build undisturbed, then with kills, and compare."""
    options = figures.arguments(__doc__, count=10)
    state = figures.State("table_kills", options, count=str(options.count))
    if not state.rows("undisturbed"):
        with figures.turn():
            took_s = figures.taken(lambda: started(state.folder / "undisturbed").wait())
        state.add("undisturbed", took_s=took_s, **held(state.folder / "undisturbed"))
    whole_s = state.column("undisturbed", "took_s")[0]
    generator = random.Random(0)
    shares = [generator.random() for _ in range(options.count)]
    moments_s = [TOGETHER * whole_s * share / sum(shares) for share in shares]
    for after_s in moments_s[len(state.rows("kill")) :]:
        with figures.turn():
            running = started(state.folder / "killed")
            time.sleep(after_s)
            ended = running.poll() is not None
            if not ended:
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        state.add("kill", after_s=after_s, ended=ended)
    with figures.turn():
        code = started(state.folder / "killed").wait()
    whole, mended = state.rows("undisturbed")[0], held(state.folder / "killed")
    missing, more = (set(one) - set(other) for one, other in ((whole["keys"], mended["keys"]), (mended["keys"], whole["keys"])))
    figures.table(
        ("build", "rows", "processes of a row", "models measured", "twice"),
        [
            (name, len(one["keys"]), one["processes"], one["models"], one["twice"])
            for name, one in (("undisturbed", whole), ("killed", mended))
        ],
    )
    same = not missing and not more and code == 0 and all(whole[name] == mended[name] for name in ("processes", "models", "twice"))
    figures.finish(
        options,
        figure=f"{len(state.rows('kill'))} kills: {len(missing)} rows missing, {len(more)} more, processes of a row {mended['processes']}",
        compared=f"undisturbed {len(whole['keys'])} rows, processes of a row {whole['processes']}",
        goal="the same rows",
        met=same and not any(kill["ended"] for kill in state.rows("kill")),
        commits=state.commits(),
    )


def started(folder: Path) -> subprocess.Popen[bytes]:
    """Start a build that keeps everything in a folder."""
    folder.mkdir(exist_ok=True)
    named = [argument for name in NETWORKS for argument in ("--network", name)]
    argv = [figures.HARNESS, "table", "build", *named, "--held-out", "0", "--output", str(folder / "table.json"), "--results", str(folder)]
    with (folder / "said").open("a") as said:
        return subprocess.Popen(argv, stdout=said, stderr=said, start_new_session=True)


def held(folder: Path) -> dict[str, Any]:
    """Return what a finished build left: its rows' keys and processes, the models that the store has measured, those of them twice."""
    table = LatencyTable.load(folder / "table.json")
    with Store.open(folder) as store:
        measured = Counter(row.subject.key() for row in store.rows() if row.outcome == "measured")
    return {
        "keys": sorted(row.key for row in table.rows),
        "processes": sorted({row.processes for row in table.rows}),
        "models": len(measured),
        "twice": sum(count > 1 for count in measured.values()),
    }


if __name__ == "__main__":
    main()
