"""The settings of an Android phone that calm it while something is measured: set where the phone allows it, and put back."""

from __future__ import annotations

import re
import subprocess
from typing import Dict, Iterable, Optional, Tuple

AWAKE, FIXED, IDLE = "stay awake", "fixed performance mode", "forced idle"
SETTINGS = (AWAKE, FIXED, IDLE)
LASTING = (AWAKE,)
"""Those that a restart of the phone does not put back."""
_STAY_ON = "stay_on_while_plugged_in"
_ANY_PLUG = 7
"""Of BatteryManager.BATTERY_PLUGGED_*: at mains, by USB, wirelessly."""
_FIXED = ("cmd", "power", "set-fixed-performance-mode-enabled")
_TIMEOUT_S = 5.0


class PhoneError(Exception):
    """A setting of the phone cannot be put back; the text says which, and why."""


def before() -> Dict[str, str]:
    """Return what there is to put back of each setting, by its name: for `stay awake` a number, or null where there is none."""
    _, said = _told("settings", "get", "global", _STAY_ON)
    # A phone that does not tell what to put back is left as it is.
    return {**({AWAKE: said} if re.fullmatch(r"\d+|null", said) else {}), FIXED: "false", IDLE: "unforce"}


def change(name: str, value: str) -> Optional[str]:
    """Set a setting whose value was `value`, and return why the phone does not let itself be set so, None where it does."""
    if name == AWAKE:
        if _stays_awake(value):
            return None
        _told("svc", "power", "stayon", "true")
        _, said = _told("settings", "get", "global", _STAY_ON)
        return None if _stays_awake(said) else f"{_STAY_ON} stays {said or 'untold'}"
    if name == FIXED:
        # Android 11 and newer, where the maker's power HAL has it: else it exits with 255 and says so.
        done, said = _told(*_FIXED, "true")
        return None if done else said or "no answer"
    # `dumpsys` ends well whatever it was told.
    _, said = _told("dumpsys", "deviceidle", "force-idle")
    return None if "forced in" in said else said or "no answer"


def put_back(values: Dict[str, str], names: Iterable[str] = SETTINGS) -> None:
    """Put those settings back that `values` says how; raises PhoneError where one cannot be, when the others are."""
    failures = []
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        if name == AWAKE and not re.fullmatch(r"\d+|null", value):
            failures.append(f"{_STAY_ON} was never {value}")
            continue
        command = {
            AWAKE: ("settings", "delete", "global", _STAY_ON) if value == "null" else ("settings", "put", "global", _STAY_ON, value),
            FIXED: (*_FIXED, "false"),
            IDLE: ("dumpsys", "deviceidle", "unforce"),
        }[name]
        done, said = _told(*command)
        if not done:
            failures.append(f"{name} cannot be put back: {said or 'no answer'}")
    if failures:
        raise PhoneError("; ".join(failures))


def _stays_awake(value: str) -> bool:
    return value.isdigit() and int(value) & _ANY_PLUG == _ANY_PLUG


def _told(*command: str) -> Tuple[bool, str]:
    """Return whether a command ended well, and the first line it printed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, next(iter(done.stdout.strip().splitlines()), "")
