"""Trainings of which two run at once, each in a process of its own: a network so small does not keep two cores busy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TypeVar

from benchmarks import figures
from harness.training.isolated import Isolated

AT_ONCE = 2
Given = TypeVar("Given")
Found = TypeVar("Found")


def at_once(make: Callable[[], Callable[[Given], Found]], wanted: Sequence[Given]) -> Iterator[tuple[Given, Found]]:
    """Yield each that is wanted with what training it finds, as they end; `make` is picklable and makes what trains, in its process."""
    with figures.turn(), ThreadPoolExecutor(AT_ONCE) as threads, ExitStack() as stack:
        free: SimpleQueue[Isolated[Given, Found]] = SimpleQueue()
        for _ in range(AT_ONCE):
            free.put(stack.enter_context(Isolated(make)))

        def found(given: Given) -> Found:
            isolated = free.get()
            try:
                return isolated(given)
            finally:
                free.put(isolated)

        stack.callback(threads.shutdown, wait=False, cancel_futures=True)  # what ends it early ends the processes next
        pending = {threads.submit(found, given): given for given in wanted}
        for future in as_completed(pending):
            yield pending[future], future.result()
