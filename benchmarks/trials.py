"""Faults of a device at random moments of a benchmark: what is lost, measured twice, hung or left behind.

`harness bench` runs as a process of its own, four at a time, each on a device of its own. One that ends with an error is run once more
when the fault is over, as its user would.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmarks import figures, stored
from models.reference.write import Writer
from tests.cli import tiny_models

HOST_KILLED = "host killed"
IN_A_PUSH = "in a push"
LONGEST_S = 240.0
ORPHANS_S = 40.0
"""An agent whose link was cut ends itself within 20 s of silence."""
AWAY_S = (0.5, 25.0)
"""A link may be away for a moment that TCP mends, or for longer than the agent waits."""
SPREAD_S = 20.0
"""A benchmark takes longer: four share two cores."""
AT_A_TIME = 4
PUSH_S = 0.3
"""About as long as the model's 64 MiB take."""
GOALS = ("lost", "twice", "hung", "orphans", "changed", "unmeasured")
COUNTED = (*GOALS, "failed")


class Victim(Protocol):
    """A device that is harmed, in a folder of its own, which holds its devices.toml."""

    environment: Mapping[str, str]

    def suffer(self, fault: str) -> None:
        """Harm it so; what comes back by itself is back when this returns."""

    def pushed_to(self) -> Path:
        """Return the folder that its models lie in, as this machine sees it."""

    def orphans(self) -> Sequence[str]:
        """Return what still runs on it for a harness."""

    def changed(self) -> Sequence[str]:
        """Return the settings that are not what they were."""

    def close(self) -> None:
        """Take it down."""


Making = Callable[[Path, str, random.Random], Victim]
"""Makes the device for one trial in a new folder, for a fault."""


def take(state: figures.State, faults: Sequence[str], count: int, make: Making) -> None:
    """Take the trials that are missing."""
    wanted = [(fault, number) for number in range(count) for fault in faults]
    missing = wanted[len(state.rows("trial")) :]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for first in range(0, len(missing), AT_A_TIME):
            with figures.turn():
                for found in pool.map(partial(_trial, state.folder, make), missing[first : first + AT_A_TIME]):
                    state.add("trial", **found)


def _trial(within: Path, make: Making, wanted: tuple[str, int]) -> dict[str, object]:
    fault, number = wanted
    dice = random.Random(f"{fault} {number}")
    with tempfile.TemporaryDirectory(dir=within) as scratch:
        victim = make(Path(scratch), fault, dice)
        try:
            return _harm(Path(scratch), victim, fault, dice)
        finally:
            victim.close()


def _harm(folder: Path, victim: Victim, fault: str, dice: random.Random) -> dict[str, object]:
    """Return what a fault at a random moment did."""
    (folder / "model.tflite").write_bytes(large_model() if fault.endswith(IN_A_PUSH) else tiny_models.add())
    began = time.monotonic()
    process = bench(folder, victim)
    if fault.endswith(IN_A_PUSH):
        wait_for_push(victim, process)
        at_s = dice.uniform(0.0, PUSH_S)
    else:
        at_s = dice.uniform(0.5, SPREAD_S)
    time.sleep(at_s)
    if fault == HOST_KILLED:
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = stored.repetitions(folder / "results")
        process = bench(folder, victim)
    else:
        before = stored.repetitions(folder / "results")
        victim.suffer(fault)
    statuses = [ended(process)]
    took_s = time.monotonic() - began
    said = ""
    if statuses[0] != 0:
        said = (folder / "log").read_text(errors="replace")[-500:]
        statuses.append(ended(bench(folder, victim)))
    kept = stored.repetitions(folder / "results")
    measured = sum(row.outcome == "measured" for row in stored.rows(folder / "results"))
    deadline = time.monotonic() + ORPHANS_S
    while (victim.orphans() or victim.changed()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return {
        "fault": fault,
        "at_s": at_s,
        "took_s": took_s,
        "lost": len(set(before) - set(kept)),
        "twice": len(kept) - len({taken_at for _, taken_at in kept}) + max(0, measured - 1),
        "hung": None in statuses,
        "orphans": len(victim.orphans()),
        "changed": len(victim.changed()),
        "failed": statuses[0] != 0,
        "unmeasured": measured == 0,
        "said": said,
    }


def wait_for_push(victim: Victim, process: subprocess.Popen[bytes]) -> None:
    """Return once a model is on its way."""
    while not any(victim.pushed_to().glob(".*.tflite.*")):
        if process.poll() is not None:
            sys.exit(f"the benchmark ended with {process.returncode} before a model was on its way")
        time.sleep(0.001)


def large_model() -> bytes:
    """Return a model that takes a while to push: 64 MiB of weights."""
    writer = Writer([1, 4096])
    writer.dense(4096)
    return writer.model("large")


def bench(folder: Path, victim: Victim) -> subprocess.Popen[bytes]:
    """Start a benchmark of the device."""
    command = [figures.HARNESS, "bench", str(folder / "model.tflite"), "--inventory", str(folder / "devices.toml"), "--interval", "50%"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **victim.environment})


def ended(process: subprocess.Popen[bytes]) -> int | None:
    """Return how a benchmark ended; None for one that hung, and was killed."""
    try:
        return process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def report(options: figures.Options, state: figures.State) -> None:
    """Print a line per fault, and the closing line."""
    trials = state.rows("trial")
    rows = []
    for name in dict.fromkeys(one["fault"] for one in trials):
        of_fault = [one for one in trials if one["fault"] == name]
        longest_s = max(one["took_s"] for one in of_fault)
        rows.append((name, len(of_fault), *(sum(int(one[what]) for one in of_fault) for what in COUNTED), f"{longest_s:.0f}"))
    figures.table(("fault", "trials", *COUNTED, "longest s"), rows)
    totals = Counter({what: sum(int(one[what]) for one in trials) for what in COUNTED})
    figures.finish(
        options,
        figure=f"{len(trials)} faults of {len(rows)} kinds: " + ", ".join(f"{totals[what]} {what}" for what in GOALS),
        compared=f"{totals['failed']} benchmarks ended with an error and were run once more",
        goal="0 lost, 0 duplicated, 0 hung, 0 orphans, 0 settings changed, each measured in the end",
        met=not any(totals[what] for what in GOALS),
        commits=state.commits(),
    )
