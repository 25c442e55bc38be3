"""Children trained in a process of their own: one that is killed, as where memory runs out, is an outcome and not the search's end."""

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
from typing import Self

from harness.errors import ConfigError
from harness.networks.space import Tokens
from harness.search.run import ChildFailed, Quality

MOST = 20
"""Children that a process trains: TensorFlow keeps some 50 MB of each MobileNet-sized one."""

_quality: Quality | None = None
"""That of this process, where it is one that trains."""


class Isolated:
    """A quality in another process, anew after each that was killed and after `MOST` calls. To be used in a `with`: it ends there."""

    def __init__(self, make: Callable[[], Quality]) -> None:
        """Take what makes the quality there; it must be picklable."""
        self._make = make
        self._pool: ProcessPoolExecutor | None = None
        self._process: int | None = None
        self._called = 0

    def __call__(self, tokens: Tokens) -> float:
        """Return a candidate's quality; raises ChildFailed where it has none, and where its process was killed.

        Raises what making the quality raises, and ConfigError where the process ends while it is made.
        """
        if self._pool is not None and (self._called >= MOST or not self._lives_after(os.getpid)):
            self.close()  # one that was killed while it had nothing to do is no candidate's failure
        if self._pool is None:
            self._called = 0
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
            if not self._lives_after(_make_quality, self._make):
                self.close()
                raise ConfigError("the process that trains children ended while it started", "is there memory enough?")
        self._called += 1
        try:
            return self._pool.submit(_told, tokens).result()
        except BrokenProcessPool:
            self.close()
            raise ChildFailed("its process was killed, as happens where memory runs out", "a smaller batch may fit") from None

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
                child.kill()  # who interrupts a search does not wait for what is being trained
        self.close()


def _begin() -> None:
    """Leave Ctrl-C to the search, and end with it however it ends: the pipe that tasks come by would keep this process waiting."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _make_quality(make: Callable[[], Quality]) -> int:
    global _quality  # noqa: PLW0603 - what a process is given once has no other place
    _quality = make()
    return os.getpid()


def _told(tokens: Tokens) -> float:
    assert _quality is not None
    return float(_quality(tokens))
