"""What a search has tried, so that one that was killed goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import ConfigError
from harness.log import LineLog
from harness.search.trial import Trial
from harness.tables.reading import plain, read


class Log:
    """The trials of one search in a file, by their numbers; without a path they are kept in memory alone. To be used in a `with`.

    Those that were measured late are kept apart, by their tokens: a search that goes on teaches its strategy the others.

    Raises ConfigError as `LineLog` does.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._lines = LineLog(path, settings, "search")
        try:
            found = [read(Trial, line, f"{path}:{number}") for number, line in enumerate(self._lines.lines, start=2)]
        except ConfigError:
            self.close()
            raise
        self.trials = {trial.number: trial for trial in found if not trial.late}
        self.late = {trial.tokens: trial for trial in found if trial.late}

    def add(self, trial: Trial) -> None:
        """Keep a trial, in the place of an earlier one of its number; when this returns, it is on the disk."""
        if trial.late:
            self.late[trial.tokens] = trial
        else:
            self.trials[trial.number] = trial
        self._lines.append(plain(trial))

    def close(self) -> None:
        """Let others have the file."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
