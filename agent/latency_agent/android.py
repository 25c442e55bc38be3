"""What an Android phone tells of itself, asked by its own commands. What it does not tell is None, never zero."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

_TIMEOUT_S = 3.0
_BATTERY = ("dumpsys", "battery")
_THERMAL = ("dumpsys", "thermalservice")
_SAVER = ("settings", "get", "global", "low_power")
_ANDROID_ID = ("settings", "get", "secure", "android_id")
_CHARGING, _UNKNOWN_STATUS = 2, 1
"""Of BatteryManager.BATTERY_STATUS_*; a full battery that is plugged in is none that charges."""
_CPU_TYPE = 0
"""Of android.os.Temperature.TYPE_*."""
_NO_SERIAL = re.compile(r"unknown|0123456789ABCDEF|EMULATOR\w*|0*", re.IGNORECASE)
"""What phones without a serial number of their own say, all of them the same."""


@dataclass(frozen=True)
class Battery:
    """What `dumpsys battery` tells."""

    percent: Optional[int] = None
    celsius: Optional[float] = None
    charging: Optional[bool] = None


@dataclass(frozen=True)
class Thermal:
    """What `dumpsys thermalservice` tells: how far heat holds the phone back, 0 for not at all, and the temperatures of its CPUs."""

    status: Optional[int] = None
    cpu_c: Tuple[float, ...] = ()


@dataclass(frozen=True)
class Now:
    """How a phone is at one moment."""

    battery: Battery = Battery()
    thermal: Thermal = Thermal()
    battery_saver: Optional[bool] = None


@dataclass(frozen=True)
class Facts:
    """What a phone is; `identity` is no other phone's."""

    identity: str
    model: str
    build: str


def is_phone() -> bool:
    """Return whether this is Android."""
    return Path("/system/bin").is_dir() and shutil.which("getprop") is not None


def facts() -> Facts:
    """Return what this phone is. Raises OSError of one that cannot be told from others."""
    (said,) = _said(["getprop"])
    told = properties(said or "")
    identity = serial(told)
    if identity is None:
        (said,) = _said(_ANDROID_ID)
        identity = said.strip() if said and re.fullmatch("[0-9a-f]{8,}", said.strip()) else None
    if identity is None:
        raise OSError("the phone tells neither a serial number nor an android_id: its results could not be told from another phone's")
    return Facts(identity, model(told), build(told))


def now() -> Now:
    """Return how this phone is. It takes a tenth of a second and some CPU: nothing to do while something is timed."""
    told_battery, told_thermal, told_saver = _said(_BATTERY, _THERMAL, _SAVER)
    return Now(battery(told_battery or ""), thermal(told_thermal or ""), battery_saver(told_saver or ""))


def properties(said: str) -> Dict[str, str]:
    """Return the properties that `getprop` prints."""
    return dict(re.findall(r"^\[(.+?)\]: \[(.*)\]$", said, re.MULTILINE))


def serial(told: Dict[str, str]) -> Optional[str]:
    """Return the phone's serial number, None where it has none of its own."""
    found = (told.get(key, "") for key in ("ro.serialno", "ro.boot.serialno"))
    return next((one for one in found if not _NO_SERIAL.fullmatch(one)), None)


def model(told: Dict[str, str]) -> str:
    """Return the maker's name for a phone, and its SoC: `Google Pixel 8 (zuma)`."""
    maker, name = told.get("ro.product.manufacturer", ""), told.get("ro.product.model", "")
    named = name if name.lower().startswith(maker.lower()) else f"{maker} {name}"
    soc = told.get("ro.soc.model") or told.get("ro.board.platform")  # the former since Android 12
    return f"{named.strip() or 'Android phone'} ({soc})" if soc else named.strip() or "Android phone"


def build(told: Dict[str, str]) -> str:
    """Return a phone's system: `Android 14 (SDK 34, AP2A.240805.005)`."""
    release, sdk, number = (told.get(key) for key in ("ro.build.version.release", "ro.build.version.sdk", "ro.build.id"))
    details = ", ".join([*([f"SDK {sdk}"] if sdk else []), *([number] if number else [])])
    return f"Android {release or 'of unknown version'}{f' ({details})' if details else ''}"


def battery(said: str) -> Battery:
    """Return what `dumpsys battery` told."""
    # Then somebody gave it values to test with: they are not the battery's.
    if "UPDATES STOPPED" in said or re.search(r"^\s*present: false$", said, re.MULTILINE):
        return Battery()
    level, scale, status, tenths = (_number(said, name) for name in ("level", "scale", "status", "temperature"))
    return Battery(
        percent=None if level is None else round(100 * level / (scale or 100)),
        celsius=None if tenths is None else tenths / 10,
        charging=None if status in (None, _UNKNOWN_STATUS) else status == _CHARGING,
    )


def thermal(said: str) -> Thermal:
    """Return what `dumpsys thermalservice` told; Android 9 and older have no such service."""
    # What it printed above that line is cached, from whenever each last changed.
    _, _, from_hal = said.partition("Current temperatures from HAL:\n")
    current = re.match(r"(?:\s+Temperature\{.*\n?)*", from_hal)
    found = re.findall(r"mValue=([-\d.]+), mType=(\d+)", current[0] if current else "")
    celsius = [float(value) for value, kind in found if int(kind) == _CPU_TYPE and re.fullmatch(r"-?\d+(\.\d+)?", value)]
    return Thermal(_number(said, "Thermal Status"), tuple(value for value in celsius if -40 < value < 150))


def battery_saver(said: str) -> Optional[bool]:
    """Return what `settings get global low_power` told; `null` is a saver that nobody ever used."""
    return {"0": False, "null": False, "1": True}.get(said.strip())


def _number(said: str, name: str) -> Optional[int]:
    found = re.search(rf"^\s*{name}: (-?\d+)\s*$", said, re.MULTILINE)
    return int(found[1]) if found else None


def _said(*commands: Sequence[str]) -> List[Optional[str]]:
    """Return what each command prints, all run beside each other; None of one that fails or takes longer than 3 s."""
    deadline = time.monotonic() + _TIMEOUT_S
    running = [_started(command) for command in commands]
    return [None if process is None else _output(process, deadline) for process in running]


def _started(command: Sequence[str]) -> Optional[subprocess.Popen[str]]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
    except OSError:
        return None


def _output(process: subprocess.Popen[str], deadline: float) -> Optional[str]:
    try:
        printed, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return printed if process.returncode == 0 else None
