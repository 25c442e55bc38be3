"""The settings of a device that a session changes, put back when it ends, however it ends.

What was there goes to a journal before the first change. The agent puts it back when it ends; a guard, a process of its own, when the
agent was killed; the next session, when the guard was too. A restart of the device puts back what does not last, and the next session
the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from latency_agent import android_settings, conditions, cpufreq
from latency_agent.cores import SYSFS, read_text
from latency_agent.cpufreq import FrequencyError, GovernorError
from latency_agent.protocol import Settings

_JOURNALS = "settings-*.json"
_GUARD_TIMEOUT_S = 3.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def journal_of(root: Path, holder: str) -> Path:
    """Return the journal of one agent, by its part in the lease."""
    return root / _JOURNALS.replace("*", holder)


def restore_left(root: Path, own: Path, become: Sequence[str]) -> None:
    """Put back what agents that are gone left set; their guards are given the time to do it. Raises GovernorError and PhoneError.

    Under the lease: whoever left a journal there measures no more, but for sessions that share it.
    """
    deadline = time.monotonic() + _GUARD_TIMEOUT_S
    for journal in sorted(root.glob(_JOURNALS)):
        held_by = _noted(journal)
        if journal == own or _runs(held_by):
            continue
        while held_by.get("boot_id") == read_text(_BOOT_ID) and journal.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        restore(journal, become)


def hold(
    journal: Path,
    *,
    cores: Sequence[int] = (),
    frequency_khz: Optional[int] = None,
    become: Sequence[str] = (),
    phone: bool = False,
    sysfs: Path = SYSFS,
) -> Settings:
    """Return what was set and what the device refused, what there was noted in the new file `journal`.

    `cores` get the performance governor where they have one, and one frequency where that is asked for; raises GovernorError where they
    do not get it. A `phone` gets what it allows.
    """
    if frequency_khz is not None and conditions.cooling_state(sysfs):
        raise FrequencyError("heat holds its frequency down, so that its limits cannot be told; let it cool")
    wanted = cpufreq.wanted(cores, frequency_khz, sysfs)
    files = cpufreq.changes(wanted)
    asked = android_settings.before() if phone else {}
    if files or asked:
        _note(journal, files, asked)
    cpufreq.write({name: wanted[name] for name in files}, become)
    refused = {name: "what it is now is not told" for name in android_settings.SETTINGS if phone and name not in asked}
    refused.update({name: why for name, value in asked.items() for why in [android_settings.change(name, value)] if why is not None})
    if refused:
        _note(journal, files, {name: value for name, value in asked.items() if name not in refused})
    held = [name for name in asked if name not in refused]
    if wanted:
        held.insert(0, f"{cpufreq.PERFORMANCE} governor" + ("" if frequency_khz is None else f" at {frequency_khz} kHz"))
    return Settings(tuple(held), tuple(f"{name}: {why}" for name, why in refused.items()))


def restore(journal: Path, become: Sequence[str]) -> None:
    """Put back what `journal` says and remove it; of one from before a restart what lasts. Raises GovernorError and PhoneError."""
    if not journal.exists():
        return
    noted = _noted(journal)  # nothing of one that was cut short by a loss of power
    files, phone = noted.get("files", {}), noted.get("phone", {})
    same = noted.get("boot_id") == read_text(_BOOT_ID)
    failure: Optional[Exception] = None
    try:
        cpufreq.write(files if same else {}, become, back=True)
    except GovernorError as error:
        failure = error
    android_settings.put_back(phone, android_settings.SETTINGS if same else android_settings.LASTING)
    if failure is not None:
        raise failure
    try:
        journal.unlink()
    except FileNotFoundError:
        return  # the guard and the agent may both be at it


def start_guard(archive: str, journal: Path, become: Sequence[str]) -> subprocess.Popen[bytes]:
    """Return the process that restores the settings once this process is gone: it waits for the end of its stdin."""
    command = [sys.executable, "-I", archive, "guard", "--journal", str(journal), "--", *become]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/"
    )


def guard(journal: Path, become: Sequence[str]) -> None:
    """Wait for the end of stdin, then restore."""
    while os.read(0, 1):
        pass
    restore(journal, become)


def _note(journal: Path, files: Dict[str, str], phone: Dict[str, str]) -> None:
    draft = journal.with_name(f".{journal.name}")
    who = {"boot_id": read_text(_BOOT_ID), "pid": os.getpid(), "started": _started(os.getpid())}
    with draft.open("w") as file:
        json.dump({**who, "files": files, "phone": phone}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(journal)


def _noted(journal: Path) -> Dict[str, Any]:
    """Return what a journal says, nothing of one that says it otherwise than `_note`."""
    try:
        noted = json.loads(journal.read_text())
        whole = all(isinstance(value, str) for part in ("files", "phone") for value in noted[part].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return dict(noted) if whole else {}


def _runs(noted: Dict[str, Any]) -> bool:
    """Return whether the agent that wrote a journal still runs; since a restart its pid may be another's."""
    started = _started(noted.get("pid"))
    return started is not None and (noted.get("boot_id"), noted.get("started")) == (read_text(_BOOT_ID), started)


def _started(pid: object) -> Optional[str]:
    """Return when a process was started, in ticks since the device was; None where there is none."""
    stat = read_text(Path(f"/proc/{pid}/stat"))
    # The name, in parentheses, may hold anything; the 22nd field is the 20th after it (proc(5)).
    return None if stat is None else stat.rpartition(")")[2].split()[19]
