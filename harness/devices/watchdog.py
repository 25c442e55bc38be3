"""Deadlines for calls into libraries that may hang for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_IDLE_S = 60.0
"""A thread that has had nothing to watch for so long ends."""


class Watchdog:
    """Calls `cut`, once, when a guarded call outlives its deadline: `cut` takes the connection away that the call waits on.

    One thread watches all calls of a connection; it lives while there are any.
    """

    def __init__(self, cut: Callable[[], None], name: str) -> None:
        self._cut = cut
        self._name = name
        self._changed = threading.Condition()
        self._deadlines: dict[int, float] = {}
        self._number = 0
        self._watching = False
        self._wakes_at = 0.0
        self.bit = False

    @contextmanager
    def guard(self, deadline: float) -> Iterator[None]:
        """Cut the connection where the body is not done at `deadline`, in seconds of `time.monotonic()`."""
        with self._changed:
            self._number += 1
            number = self._number
            self._deadlines[number] = deadline
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, daemon=True, name=f"{self._name} watchdog").start()
            elif deadline < self._wakes_at:  # else it looks in time, and a call is not held up by its waking
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._deadlines[number]

    def _watch(self) -> None:
        idle_since = time.monotonic()
        with self._changed:
            while not self.bit:
                now = time.monotonic()
                first = min(self._deadlines.values(), default=None)
                if first is not None:
                    idle_since = now
                elif now - idle_since >= _IDLE_S:
                    break
                if first is not None and first <= now:
                    self.bit = True
                else:
                    self._wakes_at = min(now + _IDLE_S, first or now + _IDLE_S)
                    self._changed.wait(self._wakes_at - now)
            self._watching = False
        if self.bit:
            self._cut()
