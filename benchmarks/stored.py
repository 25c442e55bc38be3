"""What a results folder holds, read while a command may be writing to it; a folder without a store holds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StoreError
from harness.measure.rows import Row
from harness.measure.store import Store


def repetitions(results: Path) -> list[tuple[int, str]]:
    """Return the stored repetitions: of which measurement, taken when."""
    with _opened(results) as store:
        return [] if store is None else [(row.id, one.taken_at.isoformat()) for row in store.rows() for one in store.repetitions(row.id)]


def rows(results: Path) -> list[Row]:
    """Return the benchmarks, without their samples."""
    with _opened(results) as store:
        return [] if store is None else list(store.rows())


def worked_s(results: Path) -> float:
    """Return how long the workers of all benchmarks worked, by their own clocks."""
    with _opened(results) as store:
        if store is None:
            return 0.0
        numbers = [row.id for row in store.rows()]
        alone_ns = sum(solo.result.wall_ns for number in numbers if (solo := store.solo(number)) is not None)
        return (alone_ns + sum(one.data.wall_ns for number in numbers for one in store.repetitions(number))) / 1e9


@contextmanager
def _opened(results: Path) -> Iterator[Store | None]:
    try:
        store = Store.open(results, read_only=True)
    except StoreError as error:
        if "no measurements" not in error.message:
            raise
        yield None
    else:
        with store:
            yield store
