"""Which cores this process's threads may use: none that is measured on."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def allowed_cores() -> set[int]:
    """Return the cores that this process may use; macOS, which can only drive other devices, knows of no such bounds."""
    return os.sched_getaffinity(0) if sys.platform == "linux" else set(range(os.cpu_count() or 1))


@contextmanager
def moved_to(cores: Collection[int]) -> Iterator[None]:
    """Let this thread use `cores` for the time of the `with`; without cores nothing is done."""
    if not cores:
        yield
        return
    kept = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, kept)


def other_cores(cores: Collection[int]) -> tuple[int, ...]:
    """Return the cores of this machine that are not measured on, all of them where none would be left."""
    allowed = allowed_cores()
    return tuple(sorted(allowed - set(cores) or allowed))


@contextmanager
def kept_off(cores: Collection[int]) -> Iterator[None]:
    """Keep every thread of this process off `cores` for the time of the `with`. Without cores, as for other machines, nothing is done."""
    if not cores:
        yield
        return
    before: dict[int, set[int]] = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # the thread has ended meanwhile
            before[int(task.name)] = os.sched_getaffinity(int(task.name))
    others = set(other_cores(cores))
    _set_affinity(dict.fromkeys(before, others))
    try:
        yield
    finally:
        _set_affinity(before)


def _set_affinity(affinities: dict[int, set[int]]) -> None:
    for task, cores in affinities.items():
        with suppress(ProcessLookupError):  # the thread has ended meanwhile
            os.sched_setaffinity(task, cores)
