"""Faults of a board reached over SSH, each at random moments of a benchmark: what is lost, measured twice, hung or left behind.

The boards are this machine behind OpenSSH servers in network namespaces (root is needed), four at a time, each with a lease of its own.
`harness bench` runs as a process of its own; where the fault is its own death it is started again, and where it ends with an error it is
run once more. A clock that jumps is not among them, since a board's clock is this machine's: see tests/board.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import figures, trials
from harness.devices.footing import FOLDER
from tests.devices.netns import Namespace
from tests.devices.sshd import Sshd, inventory

FAULTS = (
    "agent killed",
    "worker killed",
    "sshd killed",
    "sshd killed in a push",
    "link cut",
    "link cut in a push",
    "board restarted",
    "disk full",
    trials.HOST_KILLED,
)


class Board:
    """The board of one trial, and the ways to harm it."""

    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path, fault: str, dice: random.Random) -> None:
        self._away_s = dice.uniform(*trials.AWAY_S)
        self.net = Namespace()
        if fault == "disk full":
            (folder / "board" / "home").mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder / "board" / "home")], check=True)
        self.sshd = Sshd(folder / "board", net=self.net, own_tmp=True)
        (folder / "devices.toml").write_text(inventory(replace(self.sshd.device, runtime="ai-edge-litert", python=sys.executable)))

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

    def pushed_to(self) -> Path:
        """Return the folder that its models lie in."""
        return self.sshd.home / FOLDER / "models"

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

    def changed(self) -> list[str]:
        """Return nothing: without `become` no setting of a board is changed."""
        return []

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
    trials.take(state, FAULTS, options.count, Board)
    trials.report(options, state)


if __name__ == "__main__":
    main()
