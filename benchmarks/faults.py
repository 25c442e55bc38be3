"""Faults of a board reached over SSH, each at random moments of a benchmark: what is lost, measured twice, hung or left behind.

The boards are this machine behind OpenSSH servers in network namespaces (root is needed), four at a time, each with a lease of its own.
`harness bench` runs as a process of its own; where the fault is its own death it is started again. A clock that jumps is not among them,
since a board's clock is this machine's: see tests/board.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks import figures
from harness.devices.footing import FOLDER
from harness.errors import StoreError
from harness.measure.store import Store
from models.reference.write import Writer
from tests.cli import tiny_models
from tests.devices.netns import Namespace
from tests.devices.sshd import Sshd, inventory

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
FAULTS = (
    "agent killed",
    "worker killed",
    "sshd killed",
    "sshd killed in a push",
    "link cut",
    "link cut in a push",
    "board restarted",
    "disk full",
    "host killed",
)


class Board:
    """The board of one trial, and the ways to harm it."""

    def __init__(self, folder: Path, away_s: float, disk: str | None = None) -> None:
        self._away_s = away_s
        self.net = Namespace()
        if disk is not None:
            (folder / "board" / "home").mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", str(folder / "board" / "home")], check=True)
        self.sshd = Sshd(folder / "board", net=self.net, own_tmp=True)

    def suffer(self, fault: str) -> None:
        """Harm the board so."""
        match fault:
            case "agent killed":
                self.kill("serve")
            case "worker killed":
                self.kill("worker")
            case "sshd killed" | "sshd killed in a push":
                self.sshd.kill_sessions()
            case "link cut" | "link cut in a push":
                self.cut()
            case "board restarted":
                self.restart()
            case "disk full":
                self.fill()

    def wait_for_push(self) -> None:
        """Return once a model is on its way."""
        models = self.sshd.home / FOLDER / "models"
        deadline = time.monotonic() + LONGEST_S
        while not any(models.glob(".*.tflite.*")):
            if time.monotonic() > deadline:
                sys.exit("no model was ever on its way")
            time.sleep(0.001)

    def kill(self, role: str) -> None:
        """Kill the agent, or its worker."""
        subprocess.run(["pkill", "-9", "-f", f"{self.sshd.home}/.*latency_agent.* {role}"], check=False)

    def cut(self) -> None:
        """Pull the cable out for a while."""
        self.net.plug(into=False)
        time.sleep(self._away_s)
        self.net.plug(into=True)

    def restart(self) -> None:
        """End all that runs there; the server comes back after a while."""
        self.sshd.stop()
        subprocess.run(["pkill", "-9", "-f", f"{self.sshd.home}/.*latency_agent"], check=False)
        time.sleep(self._away_s)
        self.sshd.start()

    def fill(self) -> None:
        """Fill the disk that the models lie on, for a while: it is a small one of its own."""
        filler = self.sshd.home / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], check=False, stderr=subprocess.DEVNULL)
        time.sleep(self._away_s)
        filler.unlink()

    def orphans(self) -> list[str]:
        """Return the processes of agents on the board."""
        found = subprocess.run(["pgrep", "-f", f"{self.sshd.home}/.*latency_agent"], check=False, capture_output=True, text=True)
        return found.stdout.split()

    def close(self) -> None:
        """Take it down."""
        self.sshd.stop()
        subprocess.run(["umount", str(self.sshd.home)], check=False, stderr=subprocess.DEVNULL)
        self.net.close()


def main() -> None:
    """Take the trials that are missing, then report."""
    options = figures.arguments(__doc__, count=20)
    if os.geteuid() != 0:
        sys.exit("network namespaces take root: run this as root")
    state = figures.State("faults", options)
    wanted = [(name, number) for number in range(options.count) for name in FAULTS]
    missing = wanted[len(state.rows("trial")) :]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for first in range(0, len(missing), AT_A_TIME):
            with figures.turn():
                for found in pool.map(lambda one: trial(state.folder, *one), missing[first : first + AT_A_TIME]):
                    state.add("trial", **found)
    report(options, state)


def trial(within: Path, name: str, number: int) -> dict[str, object]:
    """Return what one fault did, to a board in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=within) as scratch:
        return harm(Path(scratch), name, random.Random(f"{name} {number}"))


def harm(folder: Path, name: str, dice: random.Random) -> dict[str, object]:
    """Return what a fault at a random moment did."""
    board = Board(folder, dice.uniform(*AWAY_S), disk="400m" if name == "disk full" else None)
    try:
        (folder / "devices.toml").write_text(inventory(replace(board.sshd.device, runtime="ai-edge-litert", python=sys.executable)))
        (folder / "model.tflite").write_bytes(large_model() if name.endswith("in a push") else tiny_models.add())
        began = time.monotonic()
        process = bench(folder)
        if name.endswith("in a push"):
            board.wait_for_push()
            at_s = dice.uniform(0.0, PUSH_S)
        else:
            at_s = dice.uniform(0.5, SPREAD_S)
        time.sleep(at_s)
        if name == "host killed":
            process.send_signal(signal.SIGKILL)
            process.wait()
            stored = repetitions(folder)
            process = bench(folder)
        else:
            stored = repetitions(folder)
            board.suffer(name)
        try:
            status = process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        kept = repetitions(folder)
        deadline = time.monotonic() + ORPHANS_S
        while board.orphans() and time.monotonic() < deadline:
            time.sleep(0.2)
        return {
            "fault": name,
            "at_s": at_s,
            "took_s": time.monotonic() - began,
            "hung": status is None,
            "failed": status != 0,
            "said": "" if status == 0 else (folder / "log").read_text(errors="replace")[-500:],
            "lost": len(set(stored) - set(kept)),
            "twice": len(kept) - len({taken_at for _, taken_at in kept}),
            "orphans": len(board.orphans()),
        }
    finally:
        board.close()


def large_model() -> bytes:
    """Return a model that takes a while to push: 64 MiB of weights."""
    writer = Writer([1, 4096])
    writer.dense(4096)
    return writer.model("large")


def bench(folder: Path) -> subprocess.Popen[bytes]:
    """Start a benchmark of the board."""
    command = [str(Path(sys.executable).parent / "harness"), "bench", str(folder / "model.tflite")]
    command += ["--inventory", str(folder / "devices.toml")]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*command, "--interval", "50%"], stdout=log, stderr=log)


def repetitions(folder: Path) -> list[tuple[int, str]]:
    """Return the stored repetitions: of which measurement, taken when."""
    try:
        store = Store.open(folder / "results", read_only=True)
    except StoreError as error:
        if "no measurements" not in error.message:
            raise
        return []
    with store:
        return [(number, one.taken_at.isoformat()) for number in range(1, 10) for one in store.repetitions(number)]


def report(options: figures.Options, state: figures.State) -> None:
    """Print a line per fault, and the closing line."""
    trials = state.rows("trial")
    counted = ("lost", "twice", "hung", "orphans", "failed")
    rows = []
    for name in dict.fromkeys(one["fault"] for one in trials):
        of_fault = [one for one in trials if one["fault"] == name]
        longest_s = max(one["took_s"] for one in of_fault)
        rows.append((name, len(of_fault), *(sum(int(one[what]) for one in of_fault) for what in counted), f"{longest_s:.0f}"))
    figures.table(("fault", "trials", *counted, "longest s"), rows)
    totals = Counter({what: sum(int(one[what]) for one in trials) for what in counted})
    figures.finish(
        options,
        figure=f"{len(trials)} faults of {len(rows)} kinds: " + ", ".join(f"{totals[what]} {what}" for what in counted[:4]),
        compared=f"{totals['failed']} benchmarks had no result in the end",
        goal="0 lost, 0 duplicated, 0 hung, 0 orphans",
        met=not any(totals[what] for what in counted[:4]),
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
