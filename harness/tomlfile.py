"""TOML files that people write: what they hold, and where in the file it stands."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import ConfigError

_SIGN = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*'|\#[^\n]*|[\[\]{},]|[^\s,\[\]{}"'#]+""", re.DOTALL
)
_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#|$)")
_ASSIGNMENT = re.compile(r"([^=#]+)=")


class FieldError(ConfigError):
    """What a table says under one of its keys is wrong; `field` is the key, by which readers of files find the line."""

    def __init__(self, message: str, hint: str = "", field: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


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


@contextmanager
def located(text: str, path: Path, key: tuple[str, ...]) -> Iterator[None]:
    """Give a ConfigError raised inside the file and the line of `key`, or of the field in it that the error names."""
    try:
        yield
    except ConfigError as error:
        field = (error.field,) if isinstance(error, FieldError) else ()
        raise ConfigError(f"{path}:{line_of(text, (*key, *field))}: {error.message}", error.hint) from None


def line_of(text: str, key: tuple[str, ...]) -> int:
    """Return the number of the line in the TOML `text` where `key` stands, or the table nearest to it; 1 if neither is there."""
    table: tuple[str, ...] = ()
    best, best_depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            path = table = _key_path(header[1])
        elif assignment := _ASSIGNMENT.match(line):
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
    """Return the number of the line on which each element of the array `key` begins: `key = [...]`, or a `[[key]]` each.

    The TOML must be sound.
    """
    table: tuple[str, ...] = ()
    headers = []
    for start in _statements(text):
        line = text[start:].partition("\n")[0]
        if header := _HEADER.match(line):
            table = _key_path(header[1])
            if table == key:
                headers.append(_line_at(text, start))
        elif (assignment := _ASSIGNMENT.match(line)) and (*table, *_key_path(assignment[1])) == key:
            return list(_lines_of_items(text, start + assignment.end()))
    return headers


def _statements(text: str) -> Iterator[int]:
    """Yield where each header and each assignment begins."""
    depth, end = 0, 0
    for match in _SIGN.finditer(text):
        sign = match[0]
        if sign.startswith("#"):
            continue
        if depth == 0 and (end == 0 or "\n" in text[end : match.start()]):
            yield match.start()
        depth += (sign in "[{") - (sign in "]}")
        end = match.end()


def _lines_of_items(text: str, start: int) -> Iterator[int]:
    """Yield the line of each item of the array whose bracket is the first sign from `start` on."""
    depth, awaited = 0, True
    for match in _SIGN.finditer(text, start):
        sign = match[0]
        if sign.startswith("#"):
            continue
        if depth == 1 and awaited and sign not in "],":
            yield _line_at(text, match.start())
        awaited = sign in "[," and depth <= 1
        depth += (sign in "[{") - (sign in "]}")
        if depth == 0:
            break


def _line_at(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
