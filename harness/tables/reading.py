"""Dataclasses out of plain values, as JSON holds them, with every value checked."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Hashable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from harness.errors import ConfigError
from harness.files import whole_file
from harness.networks.blocks import Block
from harness.networks.tables import block_of, table_of
from harness.tomlfile import nearest

T = TypeVar("T")

_MOST = 2**63 - 1
"""Of whole numbers: more than that has no column."""


def plain(value: Any) -> Any:
    """Return a value as JSON's own types; fields of a dataclass that are at their defaults are left out."""
    if isinstance(value, Block):
        return table_of(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = ((field.name, getattr(value, field.name), field.default) for field in dataclasses.fields(value))
        return {name: plain(item) for name, item, default in kept if default is dataclasses.MISSING or item != default}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value


def read(kind: type[T], value: object, what: str) -> T:
    """Return the dataclass of `plain`; `what` names it in the ConfigError that is raised for anything else."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} is {_short(value)}", "expected: an object")
    hints = _hints(cast(Hashable, kind))
    for name in value:
        if name not in hints:
            raise ConfigError(f"unknown field {name!r} of {what}{nearest(str(name), hints)}", f"fields: {', '.join(hints)}")
    required = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]  # type: ignore[arg-type]  # kinds are dataclasses
    if missing := [name for name in required if name not in value]:
        raise ConfigError(f"{what} lacks {' and '.join(missing)}", f"fields: {', '.join(hints)}")
    made = {name: _value(hints[name], item, f"{name} of {what}") for name, item in value.items()}
    try:
        return kind(**made)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error.message}", error.hint) from None


def is_text(value: str) -> bool:
    """Return whether a text can be written: JSON and YAML can name characters that are none."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON's parts (`json.loads(object_pairs_hook=once)`); raises ConfigError where a name stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{twice!r} stands twice in one object", "keep one of them")
    return made


def write_file(value: Any, path: Path) -> None:
    """Write a dataclass as JSON, whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(json.dumps(plain(value), indent=1) + "\n")


def read_file(kind: type[T], path: Path) -> T | None:
    """Return the dataclass of a file that `write_file` wrote, None where there is none; raises ConfigError for anything else."""
    if not path.exists():
        return None
    try:
        return read(kind, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "remove it: what it holds is made again") from None


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any, what: str) -> Any:
    if get_origin(hint) is types.UnionType:
        inner, _ = get_args(hint)  # all unions are with None
        return None if value is None else _value(inner, value, what)
    if get_origin(hint) is Mapping:
        fits = isinstance(value, dict)
        return {
            name: _value(get_args(hint)[1], item, f"{name} of {what}") for name, item in _checked(fits, value, what, "an object").items()
        }
    if get_origin(hint) is tuple:
        return _items(get_args(hint), value, what)
    if hint is datetime:
        return _moment(value, what)
    if hint is Block:
        try:
            return block_of(value)
        except ConfigError as error:
            raise ConfigError(f"{what}: {error.message}", error.hint) from None
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value, what)
    if hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and -sys.float_info.max <= value <= sys.float_info.max
        return float(_checked(fits, value, what, "a finite number"))
    if hint is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST
        return _checked(fits, value, what, "a whole number")
    if hint is bool:
        return _checked(isinstance(value, bool), value, what, "true or false")
    assert hint is str, hint
    return _checked(isinstance(value, str) and is_text(value), value, what, "a text")


def _items(hints: tuple[Any, ...], value: Any, what: str) -> tuple[Any, ...]:
    each = hints[0]
    if hints[-1] is ...:
        return tuple(_value(each, item, what) for item in _checked(isinstance(value, list), value, what, "a list"))
    fits = isinstance(value, list) and len(value) == len(hints)
    return tuple(_value(each, item, what) for item in _checked(fits, value, what, f"a list of {len(hints)}"))


def _moment(value: Any, what: str) -> datetime:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ConfigError(f"{what} is {_short(value)}", "expected: a moment in ISO 8601 with its offset from UTC")
    return found


def _checked(fits: bool, value: Any, what: str, expected: str) -> Any:
    if not fits:
        raise ConfigError(f"{what} is {_short(value)}", f"expected: {expected}")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
