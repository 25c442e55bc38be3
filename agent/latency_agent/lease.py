"""The lease: a file on the device that keeps two sessions from measuring at once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from latency_agent.cores import read_text

EXPIRY_S = 15.0
_LOCK_TIMEOUT_S = 2.0


class Busy(Exception):
    """Another session holds the lease; the text says whose and until when."""


class Lease:
    """The lease at `path`, held under `token`. Sessions that share a token share the lease."""

    def __init__(self, path: Path, owner: str, token: str) -> None:
        self._path = path
        self._owner = owner
        # The file can be read by all: it holds the token's hash, which gives nobody the lease.
        self._token = hashlib.sha256(token.encode()).hexdigest()
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
        # The lock file guards a change of the lease for the moment of the change alone; the kernel drops it with the process. Whoever
        # holds it longer than that must not hold up a heartbeat, or the agent's end.
        path = f"{self._path}.lock"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o644)
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
            # Written by nobody who renames into place: no holder will ever refresh it.
            return None
        wanted = {"owner": str, "token": str, "heartbeat_ns": int, "boot_id": str}
        return held if isinstance(held, dict) and all(isinstance(held.get(key), kind) for key, kind in wanted.items()) else None

    def _write(self) -> None:
        held = {"owner": self._owner, "token": self._token, "heartbeat_ns": time.monotonic_ns(), "boot_id": self._boot}
        # A name that nobody can guess, and never an existing file: /tmp belongs to all.
        temporary = Path(f"{self._path}.{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(str(temporary), flags, 0o644), "w") as file:
            json.dump(held, file)
        temporary.replace(self._path)
