"""Devices at work side by side, a thread for each machine: one that is lost is waited for as long as another measures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from harness.errors import HarnessError
from harness.measure.result import Progress

Attempted = TypeVar("Attempted")
_AGAIN_S = 2.0


class Stopped(Exception):
    """There is nothing left to do: all is measured, another part failed, or the user interrupted the call."""


class Crew:
    """The parts of one call."""

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._at_work = parts
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._taken_up: set[int] = set()

    def let_go(self, benchmarks: Iterable[int]) -> None:
        """Let another part go on with benchmarks that were taken up."""
        with self._lock:
            self._taken_up.difference_update(benchmarks)

    def take_up(self, unfinished: Callable[[], int | None], begin: Callable[[], int]) -> int:
        """Return the benchmark to go on with, or else a new one: one that no part of this call has taken up before."""
        with self._lock:
            found = unfinished()
            if found is None or found in self._taken_up:
                found = begin()
            self._taken_up.add(found)
            return found

    def has_taken_up(self, benchmark: int) -> bool:
        """Return whether a part of this call has."""
        with self._lock:
            return benchmark in self._taken_up

    def check(self) -> None:
        """Raise Stopped where the call is over."""
        if self._stopped.is_set():
            raise Stopped

    @contextmanager
    def resting(self) -> Iterator[Callable[[], bool]]:
        """Count a part as one that does not measure; the function it is given says whether another one does."""
        with self._lock:
            self._at_work -= 1
        try:
            yield self._others_work
        finally:
            with self._lock:
                self._at_work += 1

    @property
    def alone(self) -> bool:
        """Whether the call has one part."""
        return self._parts == 1

    def patiently(
        self, attempt: Callable[[], Attempted], errors: tuple[type[HarnessError], ...], failed: Callable[[HarnessError], None]
    ) -> Attempted:
        """Return what `attempt` gives, tried anew after `errors` as long as another part measures; `failed` is told of each."""
        try:
            return attempt()
        except errors as error:
            last = error
        with self.resting() as others_work:
            while others_work():
                failed(last)
                time.sleep(_AGAIN_S)
                try:
                    return attempt()
                except errors as error:
                    last = error
        raise last

    def run(self, parts: Sequence[Callable[[], object]], interrupt: Callable[[], None]) -> None:
        """Run the parts to their ends, each in a thread, one alone in this one; raises what the first of them raised.

        `interrupt` must end what they wait for: it is called when one has failed, or the user wants an end.
        """
        if len(parts) == 1:
            parts[0]()
            return
        with ThreadPoolExecutor(len(parts), thread_name_prefix="device") as pool:
            running = [pool.submit(self._part, part) for part in parts]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:
                if not all(part.done() for part in running):
                    self._stopped.set()
                    interrupt()
        for part in running:
            part.result()

    def _part(self, part: Callable[[], object]) -> None:
        try:
            part()
        except Stopped:
            return
        except HarnessError:
            if not self._stopped.is_set():  # else it is the end that it was given
                raise
        finally:
            with self._lock:
                self._at_work -= 1

    def _others_work(self) -> bool:
        self.check()
        return self._at_work > 0


def one_at_a_time(progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Return a function that hands on what several threads tell, one after another."""
    lock = threading.Lock()

    def tell(now: Progress) -> None:
        with lock:
            progress(now)

    return tell
