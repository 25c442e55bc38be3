"""Opens the database file: how a connection is set up, and how what SQLite reports becomes a StoreError."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError, StatementError

from harness.errors import StoreError
from harness.measure import migrations
from harness.measure.schema import HEAD

BUSY_TIMEOUT_S = 15.0
"""How long a write waits for that of another process. A write takes milliseconds."""

_ELSEWHERE = "Give --results a folder that you may write."
_DAMAGED = "Move it away to start a new one. `sqlite3 FILE .recover` saves what can be read of it."
_ADVICE = {
    sqlite3.SQLITE_FULL: "Free some space and run the same command again: it goes on with what is stored.",
    sqlite3.SQLITE_IOERR: "Is the disk full, or gone? When it is back, run the same command again: it goes on with what is stored.",
    sqlite3.SQLITE_BUSY: "Another process has been writing it all the time. Wait for it to end, or give --results another folder.",
    sqlite3.SQLITE_LOCKED: "Another process has been writing it all the time. Wait for it to end, or give --results another folder.",
    sqlite3.SQLITE_READONLY: _ELSEWHERE,
    sqlite3.SQLITE_CANTOPEN: _ELSEWHERE,
    sqlite3.SQLITE_PERM: _ELSEWHERE,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
}


def open_to_write(path: Path) -> Engine:
    """Return an engine on the database `path`, made or migrated where need be; raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {path.parent}: {error.strerror}", _ELSEWHERE) from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        # A write takes its lock at once: SQLite lets a transaction that began by reading wait for nobody.
        execution_options={"begin": "BEGIN IMMEDIATE"},
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "connect", _set_up_to_write)
    event.listen(engine, "begin", _begin)
    with _disposed_on_error(engine), explained(path), engine.begin() as connection:
        migrations.upgrade(connection)
    return engine


def open_read_only(path: Path) -> Engine:
    """Return an engine on the database `path` that only reads; raises StoreError where it is missing, empty or of another schema."""
    nothing = StoreError(f"there are no measurements in {path.parent}", "`harness bench MODEL` makes some; --results names another folder.")
    if not path.exists():
        raise nothing
    query = {"uri": "true", "mode": "ro"}
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        # SQLite would make the files that readers and writers share, and cannot; nobody writes here.
        query["immutable"] = "1"
    engine = create_engine(
        URL.create("sqlite", database=path.as_uri(), query=query),
        execution_options={"begin": "BEGIN"},
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    with _disposed_on_error(engine), explained(path), engine.begin() as connection:
        found = migrations.version(connection)
        if found is None:  # another process is about to make it
            raise nothing
        if found < HEAD:
            raise StoreError(f"{path} was written by an older harness", "`harness bench MODEL` brings it up to date.")
        if found > HEAD:
            raise migrations.newer(connection, found)
    return engine


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the database's errors inside the `with` into a StoreError that says what happened, on which file, and what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, StatementError) else error
        if isinstance(cause, StoreError):
            raise cause from error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        raise StoreError(f"{path}: {cause}", _ADVICE.get(code, "")) from error
    except UnicodeDecodeError as error:
        # What SQLite says of a damaged file may quote it, and Python cannot read that.
        raise StoreError(f"{path}: the database is damaged", _DAMAGED) from error


@contextmanager
def _disposed_on_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except StoreError:
        engine.dispose()
        raise


def _set_up(connection: DBAPIConnection, _record: object) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None  # else Python's module commits before every change of the schema
    connection.execute("PRAGMA foreign_keys = ON")


def _set_up_to_write(connection: DBAPIConnection, record: object) -> None:
    _set_up(connection, record)
    assert isinstance(connection, sqlite3.Connection)
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns, also with a write-ahead log


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and the writer not wait for each other. Where a file system cannot do that, SQLite keeps its slower, equally safe way."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Two processes that make the same file: this change alone does not wait by itself.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options()["begin"])
