"""The lease: a file on the device that keeps two sessions from measuring at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from latency_agent.cores import read_text

EXPIRY_S = 15.0


class Busy(Exception):
    """Another session holds the lease; the text says whose and until when."""


class Lease:
    """The lease at `path`, held under `token`. Sessions that share a token share the lease."""

    def __init__(self, path: Path, owner: str, token: str) -> None:
        self._path = path
        self._owner = owner
        self._token = token
        self._boot = read_text(Path("/proc/sys/kernel/random/boot_id")) or ""

    def acquire(self) -> None:
        """Take the lease or raise Busy. A lease whose heartbeat is older than 15 s, or of an earlier boot, is taken over."""
        with self._locked():
            held = self._read()
            if held is not None and held["token"] != self._token:
                age_s = (time.monotonic_ns() - held["heartbeat_ns"]) / 1e9
                if held["boot_id"] == self._boot and 0 <= age_s < EXPIRY_S:
                    raise Busy(f"{held['owner']} is measuring; without a sign of life its lease ends in {EXPIRY_S - age_s:.0f} s")
            self._write()

    def refresh(self) -> bool:
        """Renew the heartbeat; return False where the lease is lost."""
        with self._locked():
            held = self._read()
            if held is None or held["token"] != self._token:
                return False
            self._write()
            return True

    def release(self) -> None:
        """Give the lease back; one that is lost is left to its holder."""
        with self._locked():
            held = self._read()
            if held is not None and held["token"] == self._token:
                self._path.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # The lock file guards a change of the lease for the moment of the change alone; the kernel drops it with the process.
        path = f"{self._path}.lock"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> Optional[Dict[str, Any]]:
        try:
            held = json.loads(self._path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            # Written by nobody who renames into place: no holder will ever refresh it.
            return None
        wanted = {"owner": str, "token": str, "heartbeat_ns": int, "boot_id": str}
        return held if isinstance(held, dict) and all(isinstance(held.get(key), kind) for key, kind in wanted.items()) else None

    def _write(self) -> None:
        held = {"owner": self._owner, "token": self._token, "heartbeat_ns": time.monotonic_ns(), "boot_id": self._boot}
        temporary = Path(f"{self._path}.{self._token[:8]}.{os.getpid()}")
        temporary.write_text(json.dumps(held))
        temporary.replace(self._path)
