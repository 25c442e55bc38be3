"""What a search has tried, a JSON line each, so that one that was killed goes on: the settings first, then trial after trial."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.search.trial import Trial
from harness.tables.reading import plain, read


class Log:
    """The trials of one search in a file; without a path they are kept in memory alone.

    Raises ConfigError for a file of other settings, and for one that is no log.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self.trials: list[Trial] = []
        self._path = path
        if path is None:
            return
        if path.exists():
            self._load(path, settings)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(dict(settings))

    def add(self, trial: Trial) -> None:
        """Keep a trial; when this returns, it is on the disk."""
        self.trials.append(trial)
        self._append(plain(trial))

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _load(self, path: Path, settings: Mapping[str, Any]) -> None:
        hint = "name another folder, or remove the file"
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no log of a search: {error}", hint) from None
        whole = text[: text.rfind("\n") + 1]  # a killed search may have left half a line
        if whole == "":
            if not json.dumps(dict(settings)).startswith(text):
                raise ConfigError(f"{path} is no log of a search: it has no line", hint)
            os.truncate(path, 0)
            self._append(dict(settings))
            return
        try:
            found, *lines = [json.loads(line) for line in whole.splitlines()]
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path} is no log of a search: {error.msg}", hint) from None
        if found != json.loads(json.dumps(dict(settings))):
            raise ConfigError(
                f"the search in {path} has other settings: {_differences(found, settings)}", "name another folder for this one"
            )
        self.trials = [read(Trial, line, f"{path}:{number}") for number, line in enumerate(lines, start=2)]
        os.truncate(path, len(whole.encode()))


def _differences(found: object, settings: Mapping[str, Any]) -> str:
    if not isinstance(found, dict):
        return "its first line holds none"
    names = [name for name in {**found, **settings} if found.get(name) != settings.get(name)]
    return "; ".join(f"{name} {found.get(name)}, not {settings.get(name)}" for name in names)
