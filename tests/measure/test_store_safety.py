"""Killed, full, locked, unwritable: what the store holds afterwards, and what it says."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.measure.database import FILE_NAME
from harness.measure.migrations import opening
from harness.measure.store import Store
from tests.measure.test_store_given import FACTS, LONG_AGO, PROVENANCE, SESSION, SOLO, SUBJECT, measured, raw, repetition, timed

# Python 3.12 and later warn of the threads of the linear algebra library, which the children do not use.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@contextmanager
def child(act: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    """Run `act` in another process; yield its id and the end of a pipe whose other end it gets. It exits 0, or 1 for an exception."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act(theirs)
            status = 0
        finally:
            os._exit(status)
    os.close(theirs)
    try:
        yield pid, ours
    finally:
        os.close(ours)


def exit_status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_kill_at_any_moment_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    def write_on(folder: Path, first_seed: int, pipe: int) -> None:
        with Store.open(folder) as store:
            session = store.start_session(SESSION)
            benchmark = store.unfinished(SUBJECT, since=LONG_AGO) or store.start_benchmark(session, SUBJECT, PROVENANCE)
            if store.solo(benchmark) is None:
                store.add_solo(benchmark, SOLO, "n")
            for seed in range(first_seed, first_seed + 10_000):
                store.add_repetition(benchmark, timed(session, seed))
                os.write(pipe, struct.pack("i", seed))

    kills = 16
    moments = random.Random(4)
    committed: set[int] = set()
    for kill in range(kills):
        with child(lambda pipe, first=kill * 10_000: write_on(tmp_path, first, pipe)) as (pid, pipe):  # type: ignore[misc]
            # Every other one while it opens the store or later, the rest while it writes.
            told = os.read(pipe, 4) if kill % 2 else b""
            time.sleep(moments.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
            assert exit_status(pid) == -signal.SIGKILL
            told += os.read(pipe, 1 << 16)
            committed.update(seed for (seed,) in struct.iter_unpack("i", told))
    assert len(committed) > kills

    with Store.open(tmp_path) as store:
        benchmark = store.unfinished(SUBJECT, since=LONG_AGO)
        assert benchmark is not None
        stored = store.repetitions(benchmark)
        assert all(each.data == repetition(each.data.wall_ns) for each in stored)  # wall_ns is the seed
        seeds = [each.data.wall_ns for each in stored]
        assert seeds == sorted(set(seeds))
        assert committed <= set(seeds)
        assert len(seeds) <= len(committed) + kills  # committed, and killed before it could say so
        store.finish(benchmark)
        assert len(next(store.finished(SUBJECT)).repetitions) == len(seeds)
    with raw(tmp_path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_two_processes_make_and_write_the_same_store_at_once(tmp_path: Path) -> None:
    def write(_pipe: int) -> None:
        with Store.open(tmp_path) as store:
            measured(store, tuple(range(25)))

    with child(write) as (first, _), child(write) as (second, _):
        measured_here = 0
        while measured_here < 25:  # a third reads meanwhile
            if (tmp_path / FILE_NAME).exists():
                with Store.open(tmp_path) as store:
                    measured_here = min((len(store.repetitions(row.id)) for row in store.rows()), default=0)
        assert (exit_status(first), exit_status(second)) == (0, 0)
    with Store.open(tmp_path) as store:
        assert [len(each.repetitions) for each in store.finished(SUBJECT)] == [25, 25]


def test_readers_do_not_wait_for_a_writer_and_a_second_writer_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.5)
    with Store.open(tmp_path) as store:
        benchmark = measured(store, (1,))
        with raw(tmp_path) as database:
            database.execute("BEGIN IMMEDIATE")
            assert store.measurement(benchmark).id == benchmark
            with Store.open(tmp_path, read_only=True) as reader:
                assert reader.measurement(benchmark).id == benchmark
            with pytest.raises(StoreError, match=r"locked[^$]*Another process has been writing"):
                store.start_session(SESSION)
            waiting = threading.Thread(target=store.start_session, args=(SESSION,))
            waiting.start()
            time.sleep(0.1)
            assert waiting.is_alive()
            database.commit()
            waiting.join()
    with raw(tmp_path) as database:
        assert database.execute("SELECT count(*) FROM sessions").fetchone() == (2,)


def test_a_full_disk_is_a_store_error_and_what_was_stored_stays(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        session = store.start_session(SESSION)
        benchmark = store.start_benchmark(session, SUBJECT, PROVENANCE)
        with store._engine.connect() as connection:  # the pool hands out this connection again
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 8}")
        stored: list[int] = []

        def fill() -> None:
            for seed in range(100):
                store.add_repetition(benchmark, timed(session, seed, samples=300))
                stored.append(seed)

        with pytest.raises(StoreError, match=r"database or disk is full\nFree some space"):
            fill()
        assert 0 < len(stored) < 100
        assert len(store.repetitions(benchmark)) == len(stored)
        with store._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        store.add_repetition(benchmark, timed(session, 100))
        assert len(store.repetitions(benchmark)) == len(stored) + 1


def test_a_file_size_limit_is_a_store_error_and_what_was_stored_stays(tmp_path: Path) -> None:
    def write_until_refused(pipe: int) -> None:
        with Store.open(tmp_path) as store:
            session = store.start_session(SESSION)
            benchmark = store.start_benchmark(session, SUBJECT, PROVENANCE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
            try:
                for seed in range(1000):
                    store.add_repetition(benchmark, timed(session, seed))
                    os.write(pipe, b".")
            except StoreError as error:
                os.write(pipe, b"!" if "run the same command again" in error.hint else b"?")

    with child(write_until_refused) as (pid, pipe):
        assert exit_status(pid) == 0
        told = os.read(pipe, 1 << 16)
    assert told.endswith(b".!")
    with Store.open(tmp_path) as store:
        benchmark = store.unfinished(SUBJECT, since=LONG_AGO)
        assert benchmark is not None
        assert len(store.repetitions(benchmark)) == len(told) - 1


@pytest.mark.parametrize("folder", ["/proc/results", "FILE", "FILE/results"])
def test_a_folder_that_cannot_be_made_is_a_store_error_that_says_what_to_do(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"cannot make the folder .*\n.*--results"):
        Store.open(Path(folder.replace("FILE", str(tmp_path / "file"))))


def test_a_folder_of_another_user_is_read_and_not_written() -> None:
    def try_it(folder: Path, pipe: int) -> None:
        if os.getuid() == 0:
            os.setresuid(65534, 65534, 65534)
        with Store.open(folder, read_only=True) as store:
            os.write(pipe, str(len(next(store.finished(SUBJECT)).repetitions)).encode())
        for closed in (folder, folder / "below"):
            try:
                Store.open(closed)
            except StoreError as error:
                os.write(pipe, b" refused" if "--results" in error.hint else b" ?")

    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to other users
        folder = Path(name)
        with Store.open(folder) as store:
            measured(store, (1, 2))
        (folder / FILE_NAME).chmod(0o444)
        folder.chmod(0o555)
        with child(lambda pipe: try_it(folder, pipe)) as (pid, pipe):
            assert exit_status(pid) == 0
            assert os.read(pipe, 1 << 10) == b"2 refused refused"
        assert [each.name for each in folder.iterdir()] == [FILE_NAME]
        folder.chmod(0o755)


def test_reading_alone_needs_a_store_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there are no measurements in"):
        Store.open(tmp_path / "none", read_only=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE_NAME).touch()  # another process is about to make it
    with pytest.raises(StoreError, match="there are no measurements in"):
        Store.open(tmp_path, read_only=True)
    with Store.open(tmp_path) as store:
        benchmark = measured(store, (1,))
    with Store.open(tmp_path, read_only=True) as store:
        assert store.measurement(benchmark).provenance.facts == FACTS
        with pytest.raises(StoreError, match="readonly"):
            store.start_session(SESSION)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("content", [b"these are no measurements " * 99, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_a_store_error_and_stays_as_it_is(tmp_path: Path, content: bytes, read_only: bool) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(StoreError, match="Move it away"):
        Store.open(tmp_path, read_only=read_only)
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_a_damaged_database_gives_errors_or_samples_as_they_were(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        measured(store, (1, 2))
        whole = [each.data for each in next(store.finished(SUBJECT)).repetitions]
    content = (tmp_path / FILE_NAME).read_bytes()
    places = random.Random(1)
    errors = 0
    for _ in range(60):
        damaged = bytearray(content)
        start = places.randrange(100, len(content))
        damaged[start : start + 200] = places.randbytes(200)
        (tmp_path / FILE_NAME).write_bytes(damaged[: places.choice([len(content), start + 200])])
        try:
            with Store.open(tmp_path) as store:
                for row in store.rows():
                    assert all(each.data in whole for each in store.measurement(row.id).repetitions)
        except StoreError:
            errors += 1
    assert errors > 20


def test_a_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    with raw(tmp_path) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreError, match="is a database of something else"):
        Store.open(tmp_path)
    with raw(tmp_path) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_sqlite_keeps_to_what_the_store_rests_on(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, store._engine.connect() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert settings == ["wal", 2, 1]
    assert sqlite3.sqlite_version_info >= (3, 35)  # RETURNING
