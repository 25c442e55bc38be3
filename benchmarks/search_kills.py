"""Searches killed at random moments and started again, beside undisturbed ones.

Two take qualities from a file and latencies from a table, one by evolution and one by MnasNet's controller: they must end with the same
trials, byte by byte. The third measures every candidate on this machine: no trial may be lost, none measured twice, and its candidates,
which are random ones so far, must be those of the undisturbed one.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks import figures
from harness.measure.store import Store
from harness.networks.space_file import read_space
from harness.tables.build import NETWORK_PASSES

SPACE = """
title = "small networks"
input = [64, 64, 3]
stem = [{type = "conv", filters = 16, kernel = 3, stride = 2, activation = "relu"}]
stages = [{filters = [16, 24], layers = [1, 2], stride = 2}, {filters = [24, 32], layers = [1, 2, 3], stride = 2}]
head = [{type = "global_pool"}, {type = "dense", units = 10, activation = "softmax"}]
[choices]
kernel = [3, 5]
[fixed]
type = "mbconv"
expansion = 3
activation = "relu"
"""
SEARCHES = {"recorded": ("evolution", 2000), "controlled": ("mnasnet", 640), "live": ("evolution", 48)}
"""The strategy and the number of trials of each kind."""

TARGET_MS = 1.0


def main() -> None:
    """Search undisturbed, then with kills, and compare."""
    options = figures.arguments(__doc__, count=20)
    state = figures.State("search_kills", options, count=str(options.count))
    table = prepared(state)
    for kind in SEARCHES:
        if not state.rows(f"{kind} undisturbed"):
            with figures.turn():
                took_s = figures.taken(started(state.folder, kind, "undisturbed", table).wait)
            state.add(f"{kind} undisturbed", took_s=took_s)
        whole_s = state.column(f"{kind} undisturbed", "took_s")[0]
        generator = random.Random(0)
        while len(state.rows(f"{kind} kill")) < options.count:
            after_s = generator.uniform(0, whole_s / 2)
            with figures.turn():
                running = started(state.folder, kind, "killed", table)
                try:
                    code = running.wait(after_s)
                except subprocess.TimeoutExpired:
                    os.killpg(running.pid, signal.SIGKILL)
                    running.wait()
                    state.add(f"{kind} kill", after_s=after_s)
                    continue
            if code != 0:
                sys.exit(f"a search ended with {code}: see {state.folder}")
            # It had come to its end: what was killed so far is judged, and the next search begins anew.
            judge(state, kind)
            shutil.rmtree(state.folder / f"{kind} killed")
            shutil.rmtree(state.folder / f"{kind} killed results", ignore_errors=True)
        with figures.turn():
            if started(state.folder, kind, "killed", table).wait() != 0:
                sys.exit(f"a search failed: see {state.folder}")
        judge(state, kind)
    counted = {kind: [row for row in state.rows("judged") if row["search"] == kind] for kind in SEARCHES}
    lost, twice, other = (sum(int(row[what]) for rows in counted.values() for row in rows) for what in ("lost", "twice", "other"))
    figures.table(
        ("search", "strategy", "trials", "kills", "ended", "other than undisturbed", "lost", "measured twice"),
        [
            (kind, *SEARCHES[kind], options.count, len(rows), *(sum(int(row[what]) for row in rows) for what in ("other", "lost", "twice")))
            for kind, rows in counted.items()
        ],
    )
    figures.finish(
        options,
        figure=f"{options.count} kills of each of {len(SEARCHES)}: {other} logs differ, {lost} trials lost, {twice} measured twice",
        compared="undisturbed searches",
        goal="the same trials; 0 lost, 0 measured twice",
        met=not (other or lost or twice),
        commits=state.commits(),
    )


def judge(state: figures.State, kind: str) -> None:
    """Keep how a search that was killed and has ended differs from the undisturbed one."""
    whole, killed = ((state.folder / f"{kind} {how}" / "trials.jsonl").read_text().splitlines() for how in ("undisturbed", "killed"))
    if kind != "live":
        state.add("judged", search=kind, lost=0, twice=0, other=int(whole != killed))
        return
    trials, wanted = ({one["number"]: one for one in map(json.loads, lines[1:])} for lines in (killed, whole))
    lost = [number for number in wanted if not trials.get(number, {}).get("predicted")]
    other = any(trials[number]["tokens"] != one["tokens"] for number, one in wanted.items() if number in trials)
    state.add("judged", search=kind, lost=len(lost), twice=measured_twice(state.folder / f"{kind} killed results"), other=int(other))


def prepared(state: figures.State) -> Path:
    """Return the table of the space, built on this machine unless it was; the space and its qualities lie beside it."""
    path, listed = state.folder / "space.toml", state.folder / "known.csv"
    path.write_text(SPACE)
    space = read_space(path)
    with listed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("candidate", "quality"))
        for tokens in itertools.product(*(range(position.options) for position in space.positions)):
            writer.writerow((space.encode(tokens), 0.5 + sum(tokens) / 20))
    table = state.folder / "table.json"
    if not table.exists():
        state.harness("table", "build", str(path), "--output", str(table), "--held-out", "0")
    return table


def started(folder: Path, kind: str, how: str, table: Path) -> subprocess.Popen[bytes]:
    """Start a search in a group of its own."""
    argv = [
        figures.HARNESS,
        "search",
        "--space",
        str(folder / "space.toml"),
        "--table",
        str(table),
        "--recorded",
        str(folder / "known.csv"),
    ]
    argv += [
        "--target-ms",
        str(TARGET_MS),
        "--strategy",
        SEARCHES[kind][0],
        "--trials",
        str(SEARCHES[kind][1]),
        "--output",
        str(folder / f"{kind} {how}"),
    ]
    argv += ["--live", "all" if kind == "live" else "none", "--results", str(folder / f"{kind} {how} results"), "--json"]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def measured_twice(results: Path) -> int:
    """Return how many models have more than one measurement, or one of more processes than were asked for."""
    with Store.open(results) as store:
        rows = [row for row in store.rows() if store.repetitions(row.id)]
        counts = Counter(row.subject.model_sha256 for row in rows)
        return sum(count > 1 for count in counts.values()) + sum(len(store.repetitions(row.id)) > NETWORK_PASSES for row in rows)


if __name__ == "__main__":
    main()
