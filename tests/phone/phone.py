"""A stand-in for an Android phone: Debian's adbd over a file system, processes and a network of its own. Needs root."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from secrets import token_hex

from tests.devices.netns import Namespace
from tests.phone.adb_server import AdbServer
from tests.phone.image import build

_PORT = 5555
_START_TIMEOUT_S = 10.0
_INIT = """\
set -e
cd "$1"
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts
mount -t devpts -o newinstance,mode=600,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for each in null zero full random urandom tty; do touch dev/$each && mount --bind /dev/$each dev/$each; done
cat /proc/sys/kernel/random/uuid > dev/boot_id
mount --bind dev/boot_id proc/sys/kernel/random/boot_id
mount -t tmpfs -o size=1m,mode=1777 small mnt/small
chroot --userspec=2000:2000 --groups= . /system/bin/env -i PATH=/system/bin HOME=/ TMPDIR=/data/local/tmp ANDROID_DATA=/data \
    ANDROID_ROOT=/system ADBD_PORT="$2" /debian/as/adbd --library-path /debian/lib:/debian/lib/android /debian/adbd &
wait
"""
_CORE = {
    "cpu_capacity": "{capacity}",
    "cpufreq/related_cpus": "{related}",
    "cpufreq/cpuinfo_min_freq": "300000",
    "cpufreq/cpuinfo_max_freq": "{most_khz}",
    "cpufreq/scaling_min_freq": "300000",
    "cpufreq/scaling_max_freq": "{most_khz}",
    "cpufreq/scaling_cur_freq": "{most_khz}",
    "cpufreq/scaling_governor": "sched_pixel",
}
_LOADER = re.compile(r"^/debian/as/(\S+) .*? /debian/toybox\b")
LITTLE, BIG = (250, 1_700_000), (1024, 2_900_000)
"""A core's capacity and its highest frequency in kHz."""


class Phone:
    """A running phone. adb knows it by `serial`; `root` is its file system as this machine sees it, /proc, /dev and /mnt/small apart.

    A shell on it is uid 2000, as on a phone. /stand-in holds what its commands tell: `getprop`; `dumpsys/NAME`; `answers/COMMAND`,
    what `cmd`, `settings` or `svc` answer to one command line, or `refusals/COMMAND`, with which they refuse it; `settings/NAMESPACE KEY`,
    a setting's value; `told`, the command lines that those and dumpsys were told.
    /mnt/small is a disk of 1 MiB.
    """

    def __init__(self, folder: Path, server: AdbServer, images: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.server, self.root = folder, server, folder / "root"
        shutil.copytree(build(images), self.root, symlinks=True)
        os.chown(self.root / "data/local/tmp", 2000, 2000)
        properties = self.root / "stand-in/getprop"
        properties.write_text(properties.read_text().replace("37201FDJH003KW", f"37201FDJH{token_hex(3).upper()}"))
        self.write_cores()
        self._net = Namespace()
        self.namespace = self._net.name
        self.address = (self._net.address, _PORT)
        self.serial = f"{self._net.address}:{_PORT}"
        self.start()

    def write_cores(self, cores: dict[int, tuple[int, int]] | None = None) -> None:
        """Show these cores in /sys, each with its capacity and its highest frequency in kHz; else this machine's, half of them little."""
        count = os.cpu_count() or 1
        cores = cores or {core: LITTLE if core < count // 2 else BIG for core in range(count)}
        folder = self.root / "sys/devices/system/cpu"
        shutil.rmtree(folder, ignore_errors=True)
        for core, kind in cores.items():
            related = " ".join(str(other) for other, its in cores.items() if its == kind)
            for name, text in _CORE.items():
                path = folder / f"cpu{core}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text.format(capacity=kind[0], most_khz=kind[1], related=related) + "\n")
        for name in ("possible", "present", "online"):
            (folder / name).write_text(f"0-{max(cores)}\n")

    def start(self) -> None:
        """Boot it, and come back when its adbd listens."""
        namespaces = ["ip", "netns", "exec", self._net.name, "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command = [*namespaces, "sh", "-c", _INIT, "init", str(self.root), str(_PORT)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise AssertionError((self.folder / "log").read_text(errors="replace")[-4000:])
            time.sleep(0.01)
        self._pids = Path(f"/proc/{self._process.pid}/ns/pid_for_children").readlink()
        self._own = set(self._living())

    def connect(self) -> str:
        """Have the server connect to it, and return what the server says."""
        return self.server.connect(self.serial)

    def processes(self) -> dict[int, str]:
        """Return the command lines of what runs on it beside its init and its adbd, by pid on this machine."""
        return {pid: line for pid, line in self._living().items() if pid not in self._own}

    def plug(self, *, into: bool) -> None:
        """Plug its network in, or pull it out."""
        self._net.plug(into=into)

    def kill(self) -> None:
        """Cut its power: every process is gone when this comes back, and with them the mounts. `start` boots it again."""
        for init in self._init().split():
            os.kill(int(init), signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Cut its power for good: its network goes, its files stay in the folder; the server forgets it."""
        self.kill()
        self._net.close()
        self.server.disconnect(self.serial)

    def _init(self) -> str:
        """Return the pid of its init on this machine, or nothing of a phone that is off."""
        ours = self._process.pid
        return "" if self._process.poll() is not None else Path(f"/proc/{ours}/task/{ours}/children").read_text()

    def _living(self) -> dict[int, str]:
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/pid").readlink() == self._pids:
                    line = (process / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
                    found[int(process.name)] = _LOADER.sub(r"\1", line)
            except OSError:  # it ended meanwhile
                continue
        return found

    def _answers(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(self.address) == 0
