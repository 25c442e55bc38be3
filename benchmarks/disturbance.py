"""What disturbance does to results: a busy loop on the measuring core half the time, and memory traffic on the other core.

Runs come in blocks of four in random order: one of each disturbance and two on the quiet machine, whose median is the quiet latency.
Each run has a copy of the store as the set-up left it, so that all are judged by the same quiet sessions.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import figures, rigs
from harness.measure.affinity import other_cores

BLOCK = ("busy loop", "memory traffic", "quiet", "quiet")
WITHIN = 0.02
TOLD = ("disturbed", "drifted")
MOST_FALSE_SHARE = 0.1
_START = "import os, sys, time; os.sched_setaffinity(0, {int(sys.argv[1])}); "
BUSY = (
    _START
    + """
while True:
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass
    time.sleep(0.05)
"""
)
TRAFFIC = (
    _START
    + """
import numpy
a, b = (numpy.ones(int(sys.argv[2]) // 8) for _ in range(2))
while True:
    numpy.copyto(a, b)
"""
)


def main() -> None:
    """Take the runs that are missing, then judge each."""
    options = figures.arguments(__doc__, model="mobilenet_v2", count=20)
    state = figures.State("disturbance", options, model=options.model)
    state.set_up(options.model)
    with figures.turn(), state.store_as_set_up() as store, rigs.rig(store) as rig:
        core, cache_bytes = rig.session.placement.cores[0], rig.session.facts.last_level_cache_bytes or 64 << 20
    commands = {
        "busy loop": [BUSY, str(core)],
        "memory traffic": [TRAFFIC, str(other_cores((core,))[0]), str(4 * cache_bytes)],
    }
    for position in range(len(state.rows("run")), options.count * len(BLOCK)):
        block = random.Random(position // len(BLOCK)).sample(BLOCK, len(BLOCK))
        way = block[position % len(BLOCK)]
        with figures.turn(), state.store_as_set_up() as store, running(commands.get(way)):
            result = state.bench(options.model, store)
        fields = ("latency_ms", "latency_corrected_ms", "disturbed_share", "reference_drift", "verdict")
        state.add("run", way=way, **{field: result[field] for field in fields})
    report(options, state)


@contextmanager
def running(program: list[str] | None) -> Iterator[None]:
    """Keep a Python program running meanwhile; None is no program."""
    if program is None:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", *program])
    try:
        yield
        if process.poll() is not None:
            sys.exit(f"the disturbance ended by itself with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def report(options: figures.Options, state: figures.State) -> None:
    """Print a line per way of running, and the closing line."""
    runs = state.rows("run")
    by_way = {way: [run for run in runs if run["way"] == way] for way in dict.fromkeys(BLOCK)}
    quiet_ms = statistics.median(run["latency_ms"] for run in by_way["quiet"])

    def close(run: dict[str, Any]) -> bool:
        return bool(abs(run["latency_ms"] / quiet_ms - 1) <= WITHIN)

    def told(run: dict[str, Any]) -> bool:
        return run["verdict"] in TOLD

    rows = []
    for way, taken in by_way.items():
        offs = sorted(run["latency_ms"] / quiet_ms - 1 for run in taken)
        corrected = statistics.median(run["latency_corrected_ms"] / quiet_ms - 1 for run in taken)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(run["verdict"] for run in taken).most_common())
        good = sum(close(run) or told(run) for run in taken)
        off = f"{statistics.median(offs):+.1%} ({offs[0]:+.1%} to {offs[-1]:+.1%})"
        rows.append((way, len(taken), sum(map(close, taken)), sum(map(told, taken)), good, off, f"{corrected:+.1%}", verdicts))
    header = ("runs", "number", f"within {WITHIN:.0%}", "told", "either", "off the quiet latency", "corrected", "verdicts")
    figures.table(header, rows)
    good_of = {row[0]: (row[4], row[1]) for row in rows}
    false, most = sum(map(told, by_way["quiet"])), int(MOST_FALSE_SHARE * len(by_way["quiet"]))
    disturbed = [way for way in by_way if way != "quiet"]
    figures.finish(
        options,
        figure=", ".join(f"{way}: {good_of[way][0]} of {good_of[way][1]} within {WITHIN:.0%} or told" for way in disturbed),
        compared=f"quiet machine, {quiet_ms:.3f} ms: {false} of {len(by_way['quiet'])} runs said to be disturbed or drifted",
        goal=f"all, and at most {most} on the quiet machine",
        met=all(good_of[way][0] == good_of[way][1] for way in disturbed) and false <= most,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
