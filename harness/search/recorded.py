"""Qualities from a table that somebody recorded: candidates and how good they were, such as a benchmark of architectures."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

from harness.errors import ConfigError
from harness.files import StrPath
from harness.networks.space import Space, Tokens

COLUMNS = ("candidate", "quality")


class Recorded:
    """The quality of candidates by a table. Called with tokens it returns theirs; raises ConfigError for one that is not in it."""

    def __init__(self, qualities: Mapping[Tokens, float], space: Space, name: str) -> None:
        self._qualities = qualities
        self._space = space
        self._name = name

    @classmethod
    def read(cls, path: StrPath, space: Space) -> Recorded:
        """Return the qualities of a CSV file with the columns candidate, as `Space.encode` or `front.csv` have it, and quality.

        Raises ConfigError that names the line where the file is another one.
        """
        qualities: dict[Tokens, float] = {}
        try:
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                    raise ConfigError(f"{path} has no column {' and '.join(missing)}", f"its first line must name {' and '.join(COLUMNS)}")
                for line in reader:
                    where = f"{path}:{reader.line_num}"
                    tokens, quality = _candidate(line["candidate"] or "", space, where), _number(line["quality"], where)
                    if qualities.setdefault(tokens, quality) != quality:
                        what = f"{where}: {space.encode(tokens)} has the quality {quality:g}, and {qualities[tokens]:g} above"
                        raise ConfigError(what, "leave one of them")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"cannot read {path}: {error}", "give a CSV file of candidates and their quality") from None
        return cls(qualities, space, str(path))

    @property
    def sha256(self) -> str:
        """A hash of all that is recorded."""
        return hashlib.sha256(repr(sorted(self._qualities.items())).encode()).hexdigest()

    def __call__(self, tokens: Tokens) -> float:
        """Return a candidate's quality."""
        if tokens not in self._qualities:
            raise ConfigError(f"{self._name} does not hold {self._space.encode(tokens)}", "record every candidate that may be asked for")
        return self._qualities[tokens]


def _candidate(text: str, space: Space, where: str) -> Tokens:
    try:
        return space.decode(text.removeprefix(f"space:{space.name}/"))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", error.hint) from None


def _number(text: str | None, where: str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{where}: a quality of {text!r}", "expected: a number")
    return number
