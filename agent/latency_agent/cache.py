"""What hosts have pushed to a device, by content; the least recently used goes where room is needed."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Collection

LIMIT_BYTES = 2 << 30
"""How much models may take together."""

LEAST_FREE_BYTES = 256 << 20
"""How much of the disk is left to others."""

_ABANDONED_S = 3600.0
_LATEST_AGENTS = 4


def touch(path: Path) -> None:
    """Note that a file is in use now."""
    os.utime(path)


def fits(folder: Path, size_bytes: int) -> bool:
    """Return whether `size_bytes` more fit into `folder` as it is."""
    if not folder.is_dir():
        return True
    held = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return held + size_bytes <= LIMIT_BYTES and available_bytes(folder) - size_bytes >= LEAST_FREE_BYTES


def make_room(folder: Path, size_bytes: int, kept: Collection[str]) -> int:
    """Remove files from `folder`, the least recently used first, until `size_bytes` more fit, and return how many bytes went.

    Files with names in `kept` stay. What a push left half done an hour ago or earlier goes first.
    """
    if not folder.is_dir():
        return 0
    freed = _clear_abandoned(folder)
    files = [(path, path.stat()) for path in folder.iterdir() if path.is_file()]
    whole = sorted((status.st_mtime, path, status.st_size) for path, status in files if not path.name.startswith("."))
    held = sum(size for _, _, size in whole)
    available = available_bytes(folder)
    for _, path, size in whole:
        if held + size_bytes <= LIMIT_BYTES and available - size_bytes >= LEAST_FREE_BYTES:
            break
        if path.name not in kept:
            path.unlink()
            held, available, freed = held - size, available + size, freed + size
    return freed


def keep_latest_agents(root: Path) -> None:
    """Remove from `root` all but the agents used last, whose other hosts may come again, and what pushes of agents left half done."""
    _clear_abandoned(root)
    agents = sorted(root.glob("latency_agent-*.pyz"), key=lambda path: path.stat().st_mtime)
    for path in agents[:-_LATEST_AGENTS]:
        path.unlink()


def _clear_abandoned(folder: Path) -> int:
    freed = 0
    for path in folder.glob(".*"):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > _ABANDONED_S:
            path.unlink()
            freed += status.st_size
    return freed


def available_bytes(folder: Path) -> int:
    """Return how much of a folder's disk is free."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
