"""Models trained in a process of their own: one that is killed, as where memory runs out, is an outcome and not the end of it all."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from harness.errors import ConfigError, TrainingFailed

MOST = 20
"""Models that a process trains: TensorFlow keeps some 50 MB of each MobileNet-sized one."""

Given = TypeVar("Given")
Found = TypeVar("Found")

_WHY = 'is there memory enough, and does a script of yours begin below `if __name__ == "__main__":`, as it is run there again?'

_trainer: Callable[[Any], Any] | None = None
"""That of this process, where it is one that trains."""


class Isolated(Generic[Given, Found]):
    """What trains, in another process, anew after each that was killed and after `MOST` calls. To be used in a `with`: it ends there."""

    def __init__(self, make: Callable[[], Callable[[Given], Found]]) -> None:
        """Take what makes the one that trains there; it must be picklable."""
        self._make = make
        self._pool: ProcessPoolExecutor | None = None
        self._process: int | None = None
        self._called = 0

    def __call__(self, given: Given) -> Found:
        """Return what training finds; raises what it raises, and TrainingFailed where its process was killed.

        Raises what making the one that trains raises, and ConfigError where the process ends while it is made.
        """
        if self._pool is not None and (self._called >= MOST or not self._lives_after(os.getpid)):
            self.close()  # one that was killed while it had nothing to do is no model's failure
        if self._pool is None:
            self._called = 0
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
            if not self._lives_after(_make_trainer, self._make):
                self.close()
                raise ConfigError("the process that trains ended while it started", _WHY)
        self._called += 1
        try:
            found: Found = self._pool.submit(_trained, given).result()
        except BrokenProcessPool:
            self.close()
            raise TrainingFailed("its process was killed, as happens where memory runs out", "a smaller batch may fit") from None
        return found

    def _lives_after(self, call: Callable[..., int], *arguments: object) -> bool:
        """Return whether the process lives after a call."""
        assert self._pool is not None
        try:
            self._process = self._pool.submit(call, *arguments).result()
        except BrokenProcessPool:
            return False
        return True

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in multiprocessing.active_children() if error is not None else ():
            if child.pid == self._process:
                child.kill()  # who interrupts it does not wait for what is being trained
        self.close()


def _begin() -> None:
    """Leave Ctrl-C to the process that began this one, and end with it: by itself this one would wait at the pipe that tasks come by."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _make_trainer(make: Callable[[], Callable[[Any], Any]]) -> int:
    global _trainer  # noqa: PLW0603 - what a process is given once has no other place
    _trainer = make()
    return os.getpid()


def _trained(given: Any) -> Any:
    assert _trainer is not None
    return _trainer(given)
