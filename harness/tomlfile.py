"""TOML files that people write: what they hold, and where in the file it stands."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.errors import ConfigError

_SIGN = re.compile(r"""\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'[^']*'|\#[^\n]*|[\[\]{},]|[^\s,\[\]{}"'#]+""", re.DOTALL)


def parse(text: str, path: Path) -> dict[str, Any]:
    """Return what `text`, the content of `path`, holds; raises ConfigError that names file and line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        line = int(at[1]) if at else len(text.splitlines())
        raise ConfigError(f"{path}:{line}: {error}", "the file is TOML: toml.io describes it") from None


def nearest(word: str, words: Iterable[str]) -> str:
    """Return what to add to a message about an unknown word: the nearest of the known ones, or nothing."""
    matches = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def line_of(text: str, key: tuple[str, ...]) -> int:
    """Return the number of the line in the TOML `text` where `key` stands, or the table nearest to it; 1 if neither is there."""
    table: tuple[str, ...] = ()
    best, best_depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]\s*(#|$)", line):
            path = table = _key_path(header[1])
        elif assignment := re.match(r"([^=#]+)=", line):
            path = (*table, *_key_path(assignment[1]))
        else:
            continue
        if len(path) > best_depth and path == key[: len(path)]:
            best, best_depth = number, len(path)
    return best


def _key_path(dotted: str) -> tuple[str, ...]:
    """Return the parts of a dotted TOML key; none where it is no key, as inside a text of several lines."""
    try:
        level: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    path = []
    while isinstance(level, dict):
        (part,) = level
        path.append(part)
        level = level[part]
    return tuple(path)


def lines_of_elements(text: str, key: tuple[str, ...]) -> list[int]:
    """Return the number of the line on which each element of the array `key` begins; the TOML must be sound."""
    number = line_of(text, key)
    lines = text.splitlines(keepends=True)
    start = sum(map(len, lines[: number - 1]))
    start = text.index("=", start) + 1
    found: list[int] = []
    depth, awaited = 0, True
    for match in _SIGN.finditer(text, start):
        sign = match[0]
        if sign.startswith("#"):
            continue
        if depth == 1 and awaited and sign not in "],":
            found.append(text.count("\n", 0, match.start()) + 1)
        awaited = sign in "[," and depth <= 1
        depth += (sign in "[{") - (sign in "]}")
        if depth == 0:
            break
    return found
