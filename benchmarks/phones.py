"""Phones for the commands: stand-ins on this machine behind a real adb server and adbd, set up once and copied. Root is needed."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import figures
from harness.convert.cache import cache_dir
from harness.devices.footing import FOLDER, PHONE_HOME
from harness.devices.inventory import Device
from tests.devices.sshd import inventory
from tests.phone.adb_server import AdbServer
from tests.phone.phone import Phone

RUNTIME = "tflite-runtime"
_IMAGES = figures.ROOT / ".phone"
_SHELL = 2000
_MODE = re.compile(r"(cmd power set-\S+|dumpsys deviceidle) (true|false|force-idle|unforce)")
_OFF = ("false", "unforce")
_STEP_S = 0.001


def check_root() -> None:
    """Exit where this user is not root."""
    if os.geteuid() != 0:
        sys.exit("a phone's namespaces take root: run this as root")


def environment(server: AdbServer) -> dict[str, str]:
    """Return the environment in which `harness` reaches the phones of a server, with the cache that it has without them."""
    return {**server.environment, "HARNESS_CACHE": str(cache_dir())}


def made_by_setup(folder: Path) -> Path:
    """Return what `harness setup` puts on a phone, made in `folder`, which is new, with a phone of its own."""
    bundle = folder / "bundle.tar"
    packing = [figures.HARNESS, "bundle", "amd64", "--runtime", RUNTIME, "--output", str(bundle)]
    figures.output(packing, {"HARNESS_CACHE": str(_IMAGES / "cache")})
    server = AdbServer(folder / "server")
    phone = Phone(folder / "phone", server, _IMAGES)
    try:
        listed = folder / "devices.toml"
        listed.write_text(inventory(Device("phone", transport="adb", serial=phone.serial)))
        figures.output([figures.HARNESS, "setup", "phone", "--bundle", str(bundle), "--inventory", str(listed)], environment(server))
    finally:
        phone.stop()
        server.stop()
    return home(phone) / FOLDER


def started(folder: Path, server: AdbServer, made: Path, disk: str | None = None) -> Phone:
    """Return a running phone that has what `made_by_setup` gave, which `stop` takes down.

    The folder must be new. `disk` is how large the phone's is, as tmpfs takes it; None is as large as this machine's.
    """
    phone = Phone(folder, server, _IMAGES)
    if disk is not None:
        phone.kill()
        options = f"size={disk},mode=771,uid={_SHELL},gid={_SHELL}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home(phone))], check=True)
        phone.start()
    subprocess.run(["cp", "-a", str(made), str(home(phone))], check=True)
    return phone


def stop(phone: Phone) -> None:
    """Take a phone down, and its disk where it has one of its own."""
    phone.stop()
    if home(phone).is_mount():
        subprocess.run(["umount", str(home(phone))], check=True)


def home(phone: Phone) -> Path:
    """Return the folder of a phone's shell, as this machine sees it."""
    return phone.root / PHONE_HOME.lstrip("/")


def settings(root: Path) -> frozenset[tuple[str, str]]:
    """Return what is set on the phone with these files, each by its name.

    Limits and governors of its cores are files, and so is what `settings` keeps. Other modes count while the last that the phone's
    commands were told of them is that they be on.
    """
    limits = (root / "sys/devices/system/cpu").glob("cpu*/cpufreq/scaling_[gm]*")
    found = {str(file.relative_to(root)): file.read_text().strip() for file in (*limits, *(root / "stand-in/settings").iterdir())}
    for line in _told(root).read_text().splitlines():
        if (mode := _MODE.fullmatch(line)) is not None:
            found[mode[1]] = mode[2]
            if mode[2] in _OFF:
                del found[mode[1]]
    return frozenset(found.items())


def forget_modes(root: Path) -> None:
    """Have the phone with these files forget what a restart puts back."""
    _told(root).write_text("")


def _told(root: Path) -> Path:
    return root / "stand-in/told"


def pids(phone: Phone, role: str) -> list[int]:
    """Return the agents (`serve`) or workers (`worker`) that run on a phone, by their pids on this machine."""
    return [pid for pid, line in phone.processes().items() if _is(line, role)]


def worker(agent: int, deadline: float) -> int:
    """Return the worker that an agent has now, or gets before the deadline, by their pids on this machine."""
    while (found := worker_of(agent)) is None:
        if time.monotonic() > deadline:
            sys.exit(f"agent {agent} started no worker")
        time.sleep(_STEP_S)
    return found


def worker_of(agent: int) -> int | None:
    """Return the worker that an agent has now, None where it has none or is gone."""
    for children in Path(f"/proc/{agent}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ends meanwhile
            for pid in children.read_text().split():
                if _is(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " "), "worker"):
                    return int(pid)
    return None


def _is(line: str, role: str) -> bool:
    """Return whether a command line is that of an agent's process, and not of a shell that has all of it in its script."""
    return re.search(rf" -I \S*latency_agent\S* {role} ", line) is not None and " -c " not in line
