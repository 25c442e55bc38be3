"""What the processes that convert and compute have in common: where they find the code, and which cores they keep to."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import harness
import latency_agent


def environment() -> dict[str, str]:
    """Return the environment in which a child of this process imports the same packages as it."""
    roots = [str(Path(package.__file__).resolve().parent.parent) for package in (harness, latency_agent) if package.__file__]
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*roots, *([inherited] if inherited else [])]))}


def pinned(argv: Sequence[str], cores: Sequence[int]) -> list[str]:
    """Return the command that runs `python -m MODULE ...` on `cores` alone (all where empty), from its first instruction."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return list(argv)
    # A preexec_fn is not safe in a process with threads, so the child pins itself and then becomes the command.
    pin = f"import os, sys; os.sched_setaffinity(0, {set(cores)!r}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-S", "-c", pin, *argv]
