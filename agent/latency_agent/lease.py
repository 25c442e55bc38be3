"""The lease: a file on the device that keeps two sessions from measuring at once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from latency_agent.cores import read_text

EXPIRY_S = 15.0
_LOCK_TIMEOUT_S = 2.0
_END_TIMEOUT_S = 3.0


class Busy(Exception):
    """Another session holds the lease; the text says whose and until when."""


class Lease:
    """The lease at `path`, held under `token`. Sessions that share a token share the lease, each as a holder of its own."""

    def __init__(self, path: Path, owner: str, token: str) -> None:
        self._path = path
        self._owner = owner
        # The file can be read by all: it holds the token's hash, which gives nobody the lease.
        self._token = hashlib.sha256(token.encode()).hexdigest()
        self._boot = read_text(Path("/proc/sys/kernel/random/boot_id")) or ""
        self._refreshed = time.monotonic()
        self.holder = secrets.token_hex(8)

    def acquire(self, replaces: Optional[str] = None) -> None:
        """Take the lease or raise Busy. A lease whose heartbeat is older than 15 s, or of an earlier boot, is taken over.

        `replaces` is the holder that this one follows, an agent that its host has lost: it is ended first, for it may still measure.
        """
        with self._locked():
            held = self._read()
            holders: Dict[str, Dict[str, int]] = {}
            if held is not None and held["boot_id"] == self._boot:
                ages_s = {name: (time.monotonic_ns() - one["heartbeat_ns"]) / 1e9 for name, one in held["holders"].items()}
                alive = {name: age_s for name, age_s in ages_s.items() if 0 <= age_s < EXPIRY_S}
                if held["token"] == self._token:
                    holders = {name: held["holders"][name] for name in alive}
                    if replaces in holders:
                        _end(holders.pop(replaces)["pid"])
                elif alive:
                    left_s = EXPIRY_S - min(alive.values())
                    raise Busy(f"{held['owner']} is measuring; without a sign of life its lease ends in {left_s:.0f} s")
            self._write(holders)

    def refresh(self) -> bool:
        """Renew the heartbeat; return False where the lease is lost: taken by others, or not renewed for 15 s."""
        try:
            with self._locked():
                held = self._read()
                if held is None or held["token"] != self._token or self.holder not in held["holders"]:
                    return False
                self._write(held["holders"])
        except (OSError, Busy):  # a full disk, or a slow one: the next time may do
            return time.monotonic() - self._refreshed < EXPIRY_S
        self._refreshed = time.monotonic()
        return True

    def release(self) -> None:
        """Give this holder's part back; one that is lost is left to its holder."""
        with self._locked():
            held = self._read()
            if held is None or held["token"] != self._token or self.holder not in held["holders"]:
                return
            others = {name: one for name, one in held["holders"].items() if name != self.holder}
            if others or not self._removed():
                self._write_file(others)

    def _removed(self) -> bool:
        """Remove the file and return True, False where it is another user's: /tmp lets none but the owner remove it."""
        try:
            self._path.unlink()
        except PermissionError:
            return False
        return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # The lock file guards a change of the lease for the moment of the change alone; the kernel drops it with the process. Whoever
        # holds it longer than that must not hold up a heartbeat, or the agent's end.
        path = f"{self._path}.lock"
        descriptor = _opened(path, os.O_RDONLY, 0o644)
        try:
            deadline = time.monotonic() + _LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Busy(f"another process holds {path}") from None
                    time.sleep(0.01)
                else:
                    break
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> Optional[Dict[str, Any]]:
        try:
            with os.fdopen(os.open(str(self._path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as file:
                held = json.load(file)
        except FileNotFoundError:
            return None
        except ValueError:
            # Whoever wrote it was ended while it did: no holder will ever refresh it.
            return None
        wanted = {"owner": str, "token": str, "boot_id": str, "holders": dict}
        if not isinstance(held, dict) or not all(isinstance(held.get(key), kind) for key, kind in wanted.items()):
            return None
        whole = all(
            isinstance(one, dict) and isinstance(one.get("pid"), int) and isinstance(one.get("heartbeat_ns"), int)
            for one in held["holders"].values()
        )
        return held if whole else None

    def _write(self, holders: Dict[str, Dict[str, int]]) -> None:
        self._write_file({**holders, self.holder: {"pid": os.getpid(), "heartbeat_ns": time.monotonic_ns()}})

    def _write_file(self, holders: Dict[str, Dict[str, int]]) -> None:
        held = {"owner": self._owner, "token": self._token, "boot_id": self._boot, "holders": holders}
        # Any user may take over what has expired, so all may write it, and in place: in /tmp none but its owner may replace a file.
        # Who reads it holds the lock, and never sees half of it.
        with os.fdopen(_opened(str(self._path), os.O_WRONLY, 0o666), "w") as file:
            json.dump(held, file)
            file.truncate()


def _opened(path: str, how: int, mode: int) -> int:
    """Return the descriptor of a file, no link, that is there already or is made now, of this mode whatever the umask."""
    flags = how | os.O_NOFOLLOW | os.O_CLOEXEC
    # Without O_CREAT first: where all may write, Linux refuses it for another user's file.
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:  # somebody else has just made it
        return os.open(path, flags)
    os.fchmod(descriptor, mode)
    return descriptor


def _end(pid: int) -> None:
    """Kill another agent, its worker with it, where it is still there and one's own; another process by now is left alone."""
    if "latency_agent" not in (read_text(Path(f"/proc/{pid}/cmdline")) or ""):
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    deadline = time.monotonic() + _END_TIMEOUT_S
    while Path(f"/proc/{pid}/fd/0").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
