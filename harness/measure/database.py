"""The database of a results folder, open: every access is a transaction, every error a StoreError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from harness.files import StrPath
from harness.measure.migrations import opening

FILE_NAME = "measurements.sqlite"


class Database:
    """The open file; threads may share it. Closed by `close`, or by leaving the `with`."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.path = path
        self._engine = engine

    @classmethod
    def open(cls, folder: StrPath, *, read_only: bool = False) -> Self:
        """Return the store of `folder`, made or brought to the newest schema where need be.

        With `read_only`, the folder need not be writable, but the store must be there. Raises StoreError for a folder that cannot
        be written, a file that is no store, and a store of a newer harness.
        """
        path = Path(folder).absolute() / FILE_NAME
        return cls(opening.open_read_only(path) if read_only else opening.open_to_write(path), path)

    def close(self) -> None:
        """Let the file go."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with opening.explained(self.path), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with opening.explained(self.path), self._engine.connect().execution_options(begin="BEGIN") as connection:
            yield connection
