"""What the device is, and how it is now: facts, temperature, frequency, load. What it does not tell is None."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Collection, List, Optional, Sequence

from latency_agent import android
from latency_agent.cores import SYSFS, governor, read_cores, read_int, read_text
from latency_agent.protocol import Conditions, Facts

PROC = Path("/proc")
_FIRMWARE_TIMEOUT_S = 2.0
_CPU_ZONES = ("cpu", "soc", "x86_pkg_temp", "tsens", "big")


def facts(allowed: Collection[int], sysfs: Path = SYSFS, proc: Path = PROC) -> Facts:
    """Return what the device is. Raises OSError of a phone that cannot be told from others."""
    phone = android.facts() if android.is_phone() else None
    board = read_text(proc / "device-tree/serial-number") or read_text(Path("/etc/machine-id"))
    identity = board or platform.node() if phone is None else phone.identity
    release = platform.release()
    cores = read_cores(allowed, sysfs)
    return Facts(
        machine_id_sha256=hashlib.sha256(b"latency-harness" + identity.encode()).hexdigest(),
        cpu_model=_cpu_model(proc) if phone is None else phone.model,
        cores=cores,
        kernel=release,
        os_build=_os_build() if phone is None else phone.build,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        l2_bytes=_cache_bytes(sysfs, cores[-1].index, level=2),
        last_level_cache_bytes=_cache_bytes(sysfs, cores[-1].index, level=None),
        cpuset=cpuset(proc),
    )


def conditions(core: int, folder: Path, sysfs: Path = SYSFS, proc: Path = PROC) -> Conditions:
    """Return how the device is now, seen from `core`; free disk is that of `folder`."""
    load = read_text(proc / "loadavg")
    phone = android.now() if android.is_phone() else android.Now()
    percent = phone.battery.percent
    return Conditions(
        monotonic_ns=time.monotonic_ns(),
        load_1min=float(load.split()[0]) if load else None,
        governor=governor(core, sysfs),
        frequency_khz=frequency_khz(core, sysfs),
        temperature_c=temperature_c(sysfs, phone.thermal.cpu_c),
        battery_percent=_battery_percent(sysfs) if percent is None else percent,
        available_memory_bytes=_meminfo_bytes(proc, "MemAvailable"),
        free_disk_bytes=shutil.disk_usage(str(folder)).free,
        cooling_state=cooling_state(sysfs),
        throttle_flags=throttle_flags(),
        battery_c=phone.battery.celsius,
        charging=phone.battery.charging,
        thermal_status=phone.thermal.status,
        battery_saver=phone.battery_saver,
    )


def cpuset(proc: Path = PROC) -> Optional[str]:
    """Return the name of the cpuset that this process is in, None where the kernel has none; cgroup v2 does not name them."""
    for line in (read_text(proc / "self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuset" in controllers.split(","):
            return path
    return None


def cooling_state(sysfs: Path = SYSFS) -> Optional[int]:
    """Return how many steps the kernel has taken a frequency down because of heat, the most of any core's, None where it cannot."""
    states = []
    for device in (sysfs / "class/thermal").glob("cooling_device*"):
        state = read_int(device / "cur_state")
        if state is not None and "cpufreq" in (read_text(device / "type") or ""):
            states.append(state)
    return max(states, default=None)


def throttle_flags() -> Optional[int]:
    """Return what the firmware of a Raspberry Pi says of throttling, None on other devices."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        told = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=_FIRMWARE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)\s*", told.stdout)
    return int(found[1], 16) if found else None


def frequency_khz(core: int, sysfs: Path = SYSFS) -> Optional[int]:
    """Return the current frequency of a core."""
    return read_int(sysfs / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")


def temperature_c(sysfs: Path = SYSFS, told_c: Sequence[float] = ()) -> Optional[float]:
    """Return the highest of the CPUs' temperatures `told_c` and the zones that name a CPU or SoC, of all zones where there are none."""
    zones = []
    for zone in sorted((sysfs / "class/thermal").glob("thermal_zone*")):
        millidegrees = read_int(zone / "temp")
        # Sensors that are off answer with absolute zero or with nonsense far from any silicon's range.
        if millidegrees is not None and -40_000 < millidegrees < 150_000:
            zones.append(((read_text(zone / "type") or "").lower(), millidegrees / 1000))
    named = [*told_c, *(celsius for name, celsius in zones if any(word in name for word in _CPU_ZONES))]
    return max(named or [celsius for _, celsius in zones], default=None)


def steal_ns(core: int, proc: Path = PROC) -> Optional[int]:
    """Return the time that a hypervisor has taken from `core` since boot; its resolution is the kernel's tick."""
    text = read_text(proc / "stat") or ""
    for line in text.splitlines():
        fields = line.split()
        if fields and fields[0] == f"cpu{core}" and len(fields) > 8:
            return int(fields[8]) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
    return None


def memory_bytes(field: str, proc: Path = PROC) -> int:
    """Return a memory figure of this process, such as VmRSS or VmHWM."""
    for line in (proc / "self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"the kernel tells no {field}")


def _cpu_model(proc: Path) -> str:
    board = read_text(proc / "device-tree/model")
    names: List[str] = []
    for line in (read_text(proc / "cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware") and value.strip() not in names:
            names.append(value.strip())
    return " / ".join(([board] if board else []) + names) or platform.machine()


def _os_build() -> str:
    for line in (read_text(Path("/etc/os-release")) or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.platform()


def _cache_bytes(sysfs: Path, core: int, level: Optional[int]) -> Optional[int]:
    sizes = {}
    for index in (sysfs / f"devices/system/cpu/cpu{core}/cache").glob("index*"):
        found, size = read_int(index / "level"), read_text(index / "size")
        if found is not None and size and size.endswith("K") and read_text(index / "type") != "Instruction":
            sizes[found] = int(size[:-1]) * 1024
    if level is not None:
        return sizes.get(level)
    return sizes[max(sizes)] if sizes else None


def _battery_percent(sysfs: Path) -> Optional[int]:
    for supply in sorted((sysfs / "class/power_supply").glob("*")):
        if read_text(supply / "type") == "Battery":
            return read_int(supply / "capacity")
    return None


def _meminfo_bytes(proc: Path, field: str) -> Optional[int]:
    for line in (read_text(proc / "meminfo") or "").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
