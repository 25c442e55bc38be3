"""What long work has come to, a JSON line each, so that it goes on after a kill: its settings first, then line after line."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from harness.errors import ConfigError


class LineLog:
    """The lines of one piece of work in a file; without a path they are kept in memory alone. To be used in a `with`.

    `lines` are those that were there. Raises ConfigError for a file of other settings, one that is no log or cannot be written, and one
    that another process is at. `what` says in errors what it is a log of.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], what: str) -> None:
        self.lines: list[Any] = []
        self.path = path
        self._what = what
        self._file: TextIO | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8", newline="")  # what is read is what is there: a file is cut by its bytes
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise ConfigError(f"another {what} is at {path}", "wait for it to end, or name another folder") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror or error}", "name another folder") from None
        try:
            self.lines = self._load(path, self._file, settings)
        except ConfigError:
            self.close()
            raise

    def append(self, line: Mapping[str, Any]) -> None:
        """Keep a line; when this returns, it is on the disk."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            hint = "free space there: the same command goes on from what is whole"
            raise ConfigError(f"{self.path} cannot be written: {error.strerror or error}", hint) from None

    def close(self) -> None:
        """Let others have the file."""
        if self._file is not None:
            with suppress(OSError):  # what could not be written was told when it was appended
                self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _load(self, path: Path, file: TextIO, settings: Mapping[str, Any]) -> list[Any]:
        hint = "name another folder, or remove the file"
        file.seek(0)
        try:
            text = file.read()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is no log of a {self._what}: {error}", hint) from None
        whole = text[: text.rfind("\n") + 1]  # what was killed may have left half a line
        if whole == "":
            if not json.dumps(dict(settings)).startswith(text):
                raise ConfigError(f"{path} is no log of a {self._what}: it has no line", hint)
            file.truncate(0)
            self.append(dict(settings))
            return []
        try:
            found, *lines = [json.loads(line) for line in whole.splitlines()]
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is no log of a {self._what}: {error}", hint) from None
        wanted = json.loads(json.dumps(dict(settings)))
        if found != wanted:
            raise ConfigError(
                f"the {self._what} in {path} has other settings: {_differences(found, wanted)}", "name another folder for this one"
            )
        file.truncate(len(whole.encode()))
        return lines


def _differences(found: object, settings: Mapping[str, Any]) -> str:
    if not isinstance(found, dict):
        return "its first line holds none"
    told = []
    for name in {**found, **settings}:
        one, other = found.get(name), settings.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            told.append(f"{name}: {_differences(one, other)}")
        else:
            told.append(f"another {name}" if _is_hash(one) or _is_hash(other) else f"{name} {one}, not {other}")
    return "; ".join(told)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
