"""The frequency governor: set for a session, put back when it ends, however it ends.

What was there goes to a journal before the first change. The agent puts it back when it ends; a guard, a process of its own, when the
agent was killed; the next session, when the guard was too. A restart of the device puts it back by itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Optional, Sequence

from latency_agent.cores import SYSFS, read_text

PERFORMANCE = "performance"
_JOURNALS = "governors-*.json"
_TIMEOUT_S = 10.0
_GUARD_TIMEOUT_S = 3.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class GovernorError(Exception):
    """The governor cannot be set; the text says of which core, and why."""


def journal_of(root: Path, holder: str) -> Path:
    """Return the journal of one agent, by its part in the lease."""
    return root / _JOURNALS.replace("*", holder)


def restore_left(root: Path, own: Path, become: Sequence[str]) -> None:
    """Put back what agents that are gone left set; their guards are given the time to do it. Raises GovernorError.

    Under the lease: whoever left a journal there measures no more, but for sessions that share it.
    """
    deadline = time.monotonic() + _GUARD_TIMEOUT_S
    for journal in sorted(root.glob(_JOURNALS)):
        if journal != own and not _is_held(journal):
            while journal.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            restore(journal, become)


def _is_held(journal: Path) -> bool:
    """Return whether the agent that wrote a journal still runs."""
    try:
        pid = int(json.loads(journal.read_text())["pid"])
    except (OSError, ValueError, KeyError):
        return False
    return "latency_agent" in (read_text(Path(f"/proc/{pid}/cmdline")) or "")


def set_governor(cores: Sequence[int], wanted: str, become: Sequence[str], journal: Path, sysfs: Path = SYSFS) -> None:
    """Set the governor of each core that has one, having noted the old ones in the new file `journal`; raises GovernorError.

    `become` is the command that runs another as root, such as `sudo -n`; empty writes as this user.
    """
    files = [sysfs / f"devices/system/cpu/cpu{core}/cpufreq/scaling_governor" for core in cores]
    before = {str(file): found for file in files for found in [read_text(file)] if found is not None and found != wanted}
    if not before:
        return
    draft = journal.with_name(f".{journal.name}")
    with draft.open("w") as file:
        json.dump({"boot_id": read_text(_BOOT_ID), "pid": os.getpid(), "governors": before}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(journal)
    for name in before:
        _write(Path(name), wanted, become)


def restore(journal: Path, become: Sequence[str]) -> None:
    """Put back what `journal` says and remove it; one from before a restart is removed alone. Raises GovernorError."""
    governors: Dict[str, str] = {}
    try:
        noted = json.loads(journal.read_text())
        if noted["boot_id"] == read_text(_BOOT_ID):
            governors = noted["governors"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError):
        governors = {}  # cut short by a loss of power, after which the kernel has its own again
    for name, value in governors.items():
        _write(Path(name), value, become)
    try:
        journal.unlink()
    except FileNotFoundError:
        return  # the guard and the agent may both be at it


def start_guard(archive: str, journal: Path, become: Sequence[str]) -> subprocess.Popen[bytes]:
    """Return the process that restores the governors once this process is gone: it waits for the end of its stdin."""
    command = [sys.executable, "-I", archive, "guard", "--journal", str(journal), "--", *become]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/"
    )


def guard(journal: Path, become: Sequence[str]) -> None:
    """Wait for the end of stdin, then restore."""
    while os.read(0, 1):
        pass
    restore(journal, become)


def _write(file: Path, value: str, become: Sequence[str]) -> None:
    # Root is used for these files alone, whatever a journal says.
    if file.name != "scaling_governor" or file.parent.name != "cpufreq" or not re.fullmatch("[a-z_]+", value):
        raise GovernorError(f"{file} is no governor")
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
    if failure is not None or found != value:
        raise GovernorError(f"{file} cannot be set to {value}: {failure or f'it stays {found}'}")
