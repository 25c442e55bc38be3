"""What the processes that convert and compute have in common: where they find the code, and which cores they keep to."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import harness
import latency_agent

_PR_SET_PDEATHSIG = 1


def environment() -> dict[str, str]:
    """Return the environment in which a child of this process imports the same packages as it."""
    roots = [str(Path(package.__file__).resolve().parent.parent) for package in (harness, latency_agent) if package.__file__]
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*roots, *([inherited] if inherited else [])]))}


def pinned(argv: Sequence[str], cores: Sequence[int]) -> list[str]:
    """Return the command that runs `argv` on `cores` alone (all where empty), from its first instruction."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return list(argv)
    # A preexec_fn is not safe in a process with threads, so the child pins itself and then becomes the command.
    pin = f"import os, sys; os.sched_setaffinity(0, {set(cores)!r}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-P", "-S", "-c", pin, *argv]


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours. -P: a json.py in the folder that the user is in must not be run in its place."""
    return [sys.executable, "-P", "-m", name, *arguments]


def end_with_parent() -> None:
    """Let the kernel end this process when the one that started it dies, where the kernel can: nobody else would end a hanging one.

    Linux ends it with the thread that started it, so that thread must live for as long as the child is wanted.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Children:
    """Short-lived child processes; `close` ends those that still run."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, argv: Sequence[str], cores: Sequence[int], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Return what `argv`, kept to `cores`, printed and how it ended; raises subprocess.TimeoutExpired, the child killed."""
        with self._lock:
            child = subprocess.Popen(
                pinned(argv, cores),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the harness, which ends its children
            )
            self._running.add(child)
        with child:
            try:
                out, err = child.communicate(timeout=timeout_s)
            finally:
                child.kill()
                with self._lock:
                    self._running.discard(child)
        return subprocess.CompletedProcess(argv, child.returncode, out, err)

    def close(self) -> None:
        """Kill what still runs."""
        with self._lock:
            for child in self._running:
                child.kill()
