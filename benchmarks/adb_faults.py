"""Faults of a phone reached over ADB, each at random moments of a benchmark: what is lost, measured twice, hung or left behind.

The phones are stand-ins on this machine (root is needed), four at a time, each with an adb server of its own: a real server, a real
adbd, and between them, where the fault is the link's, a gate. `harness bench` runs as a process of its own; where the fault is its own
death it is started again, and where it ends with an error it is run once more. An adbd that is killed takes the stand-in with it, as its
init has nothing else to do: that is the phone restarted.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from adbutils import adb_path

from benchmarks import figures, phones, trials
from harness.devices.footing import FOLDER
from harness.devices.inventory import Device
from tests.devices.sshd import inventory
from tests.phone.adb_server import AdbServer
from tests.phone.gate import Gate

BY_GATE = ("link ended", "link stalled", "link dropped", "phone offline")
FAULTS = (
    "agent killed",
    "worker killed",
    "network unplugged",
    *BY_GATE,
    "adb server killed",
    "phone restarted",
    "network unplugged in a push",
    "disk full in a push",
    trials.HOST_KILLED,
)
DISK = "480m"
"""The bundle, the models and the 256 MiB that the agent leaves to others."""
MOST_BYTES_LEFT = 4096
"""What goes to a phone between two repetitions is less."""


class Harmed:
    """The phone of one trial, and the ways to harm it."""

    def __init__(self, made: Path, folder: Path, fault: str, dice: random.Random) -> None:
        self._away_s = dice.uniform(*trials.AWAY_S)
        self._left_bytes = dice.randrange(1, MOST_BYTES_LEFT)
        self._ends = ExitStack()
        self._server = AdbServer(folder / "server")
        self._ends.callback(self._stop_server)
        self.environment: Mapping[str, str] = phones.environment(self._server)
        disk = DISK if fault == "disk full in a push" else None
        self._phone = phones.started(folder / "phone", self._server, made, disk)
        self._ends.callback(phones.stop, self._phone)
        serial = self._phone.serial
        self._before = phones.settings(self._phone.root)
        self._filler = phones.home(self._phone) / "filler"
        if fault in BY_GATE:
            self._gate = self._ends.enter_context(Gate(self._phone.address, [self._server.key]))
            serial = self._gate.serial
        (folder / "devices.toml").write_text(inventory(Device("phone", transport="adb", serial=serial)))

    def suffer(self, fault: str) -> None:
        """Harm the phone so."""
        match fault:
            case "agent killed":
                self._kill("serve")
            case "worker killed":
                self._kill("worker")
            case "network unplugged" | "network unplugged in a push":
                self._away(partial(self._phone.plug, into=False), partial(self._phone.plug, into=True))
            case "link ended":
                self._gate.cut()
            case "link stalled":
                self._away(self._gate.stall, self._gate.resume)
            case "link dropped":
                self._gate.drop_after(self._left_bytes)
            case "phone offline":
                self._away(self._refuse, partial(self._gate.refuse, refuse=False))
            case "adb server killed":
                self._kill_server()
            case "phone restarted":
                self._away(self._phone.kill, self._boot)
            case "disk full in a push":
                self._away(self._fill, self._filler.unlink)

    def pushed_to(self) -> Path:
        """Return the folder that its models lie in."""
        return phones.home(self._phone) / FOLDER / "models"

    def orphans(self) -> list[str]:
        """Return what runs there beside its init and its adbd."""
        return list(self._phone.processes().values())

    def changed(self) -> list[str]:
        """Return the settings that are not what they were."""
        return sorted(name for name, _ in self._before ^ phones.settings(self._phone.root))

    def close(self) -> None:
        """Take it down."""
        self._ends.close()

    def _away(self, harm: Callable[[], None], mend: Callable[[], None]) -> None:
        harm()
        time.sleep(self._away_s)
        mend()

    def _kill(self, role: str) -> None:
        for pid in phones.pids(self._phone, role):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _boot(self) -> None:
        phones.forget_modes(self._phone.root)
        self._phone.start()

    def _refuse(self) -> None:
        self._gate.refuse(refuse=True)
        self._gate.cut()

    def _fill(self) -> None:
        subprocess.run(["dd", "if=/dev/zero", f"of={self._filler}", "bs=1M"], check=False, stderr=subprocess.DEVNULL)

    def _kill_server(self) -> None:
        subprocess.run([adb_path(), "kill-server"], env={**os.environ, **self.environment}, check=True, capture_output=True)

    def _stop_server(self) -> None:
        """End the server, be it the one that a harness started."""
        with suppress(subprocess.CalledProcessError):  # there is none
            self._kill_server()
        self._server.stop()


def main() -> None:
    """Take the trials that are missing, then report."""
    options = figures.arguments(__doc__, count=20)
    phones.check_root()
    state = figures.State("adb_faults", options)
    with tempfile.TemporaryDirectory() as folder:
        with figures.turn():
            made = phones.made_by_setup(Path(folder))
        trials.take(state, FAULTS, options.count, partial(Harmed, made))
    trials.report(options, state)


if __name__ == "__main__":
    main()
