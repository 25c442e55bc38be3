"""The frequency governor of cores and the limits of their frequency: what to write where, and writing it, as root where that is allowed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Dict, Optional, Sequence

from latency_agent.cores import SYSFS, read_int, read_text

PERFORMANCE = "performance"
_GOVERNOR, _LEAST, _MOST = "scaling_governor", "scaling_min_freq", "scaling_max_freq"
_VALUES = {_GOVERNOR: "[a-z_]+", _LEAST: r"\d+", _MOST: r"\d+"}
_TIMEOUT_S = 10.0


class GovernorError(Exception):
    """A governor or a frequency cannot be set; the text says of which core, and why."""


class FrequencyError(GovernorError):
    """A core does not run at the wanted frequency, or not now; the text says why."""


def wanted(cores: Sequence[int], frequency_khz: Optional[int] = None, sysfs: Path = SYSFS) -> Dict[str, str]:
    """Return what each file of the cores should say: the performance governor where there is one, and limits that leave one frequency.

    Raises FrequencyError where a core cannot run at that frequency, naming those at which it can.
    """
    values: Dict[str, str] = {}
    for core in cores:
        folder = sysfs / f"devices/system/cpu/cpu{core}/cpufreq"
        if (folder / _GOVERNOR).exists():
            values[str(folder / _GOVERNOR)] = PERFORMANCE
        if frequency_khz is not None:
            _check(core, folder, frequency_khz)
            values.update({str(folder / name): str(frequency_khz) for name in (_LEAST, _MOST)})
    return values


def changes(values: Dict[str, str]) -> Dict[str, str]:
    """Return what those of these files say now that say something else."""
    return {file: now for file, value in values.items() for now in [read_text(Path(file))] if now is not None and now != value}


def write(values: Dict[str, str], become: Sequence[str], *, back: bool = False) -> None:
    """Write each file's value and read it back; raises GovernorError where it is not what it says then.

    `become` is the command that runs another as root, such as `sudo -n`; empty writes as this user. Limits that are put `back` are
    not held to what was written: heat may cap what is read.
    """
    for name in sorted(values, key=lambda name: _turn(Path(name), values)):
        file = Path(name)
        _write(file, values[name], become, read_back=not back or file.name == _GOVERNOR)


def _check(core: int, folder: Path, khz: int) -> None:
    least, most = read_int(folder / "cpuinfo_min_freq"), read_int(folder / "cpuinfo_max_freq")
    if least is None or most is None:
        raise FrequencyError(f"core {core} has no frequency that can be set")
    known = [int(one) for one in (read_text(folder / "scaling_available_frequencies") or "").split()]
    if known and khz not in known:
        raise FrequencyError(f"core {core} does not run at {khz} kHz; it does at {', '.join(map(str, sorted(known)))}")
    if not least <= khz <= most:
        raise FrequencyError(f"core {core} does not run at {khz} kHz; it does from {least} to {most}")


def _turn(file: Path, values: Dict[str, str]) -> int:
    """Return when a file's turn comes: the least frequency goes first where it stays under the most of now, which the kernel insists on."""
    if file.name == _GOVERNOR:
        return 0
    least, most_now = values.get(str(file.with_name(_LEAST))), read_int(file.with_name(_MOST))
    least_first = least is None or most_now is None or int(least) <= most_now
    return 1 if (file.name == _LEAST) == least_first else 2


def _write(file: Path, value: str, become: Sequence[str], *, read_back: bool) -> None:
    # Root is used for these files alone, whatever a journal says.
    if file.parent.name != "cpufreq" or not re.fullmatch(_VALUES.get(file.name, "(?!)"), value):
        raise GovernorError(f"{file} is no governor or frequency that may be set to {value}")
    failure: Optional[str] = None
    if become:
        try:
            done = subprocess.run(
                [*become, "tee", str(file)],
                input=value.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GovernorError(f"{file} cannot be set by {' '.join(become)}: {error}") from None
        failure = done.stderr.decode(errors="replace").strip() if done.returncode != 0 else None
    else:
        try:
            file.write_text(value)
        except OSError as error:
            failure = error.strerror or str(error)
    found = read_text(file)
    if failure is not None or (read_back and found != value):
        raise GovernorError(f"{file} cannot be set to {value}: {failure or f'it stays {found}'}")
