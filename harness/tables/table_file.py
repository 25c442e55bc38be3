"""The file of a latency table: JSON that people read and compare, a row a line, with its version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.files import whole_file
from harness.tables.reading import once, plain, read
from harness.tables.table import Calibration, HeldOut, LatencyTable, Origin, Row
from harness.tomlfile import nearest

FORMAT = "latency-harness table"
VERSION = 1
"""Raised when a reader of the version before could not read a file, or would misread it. 1: the first."""

_PARTS = ("format", "version", "origin", "calibration", "held_out", "rows")
_AGAIN = "restore the file, or build the table again"


def write_table(table: LatencyTable, path: Path) -> Path:
    """Write a table and return the path; raises ConfigError where it cannot be written."""
    with whole_file(path) as draft:
        draft.write_text(text_of(table), encoding="utf-8")
    return path


def text_of(table: LatencyTable) -> str:
    """Return a table as the text of its file."""
    calibration, held_out = plain(table.calibration), plain(table.held_out)
    parts = {
        "format": _json(FORMAT),
        "version": _json(VERSION),
        "origin": _json(plain(table.origin), indent=1).replace("\n", "\n "),
        "calibration": _json(None) if calibration is None else _by_line(calibration),
        "held_out": _json(None) if held_out is None else _by_line(held_out),
        "rows": _lines(plain(table.rows), "  "),
    }
    return "{\n" + ",\n".join(f" {_json(name)}: {text}" for name, text in parts.items()) + "\n}\n"


def _by_line(parts: dict[str, Any]) -> str:
    """Return an object a field a line, lists of objects an object a line."""
    listed = {name: isinstance(value, list) and bool(value) and isinstance(value[0], dict) for name, value in parts.items()}
    lines = [f"  {_json(name)}: {_lines(value, '   ') if listed[name] else _json(value)}" for name, value in parts.items()]
    return "{\n" + ",\n".join(lines) + "\n }"


def _lines(items: list[Any], indent: str) -> str:
    return "[\n" + ",\n".join(f"{indent}{_json(item)}" for item in items) + f"\n{indent[:-1]}]"


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent)


def read_table(path: Path) -> LatencyTable:
    """Return the table of a file; raises ConfigError that names the file, the row, and what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"cannot read the latency table {path}: {reason}", "give the path of a file that `harness table build` wrote"
        ) from None
    return parse_table(text, path)


def parse_table(text: str, path: Path) -> LatencyTable:
    """Return the table that `text`, the content of `path`, holds; raises ConfigError as `read_table` does."""
    try:
        data = json.loads(text, parse_constant=_no_number, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        whole = text.rstrip()
        other = whole and not whole.startswith("{")
        what = "is no JSON" if other or (whole.endswith("}") and error.pos < len(whole)) else "is cut short"
        raise ConfigError(f"{path}:{error.lineno}: the file {what}: {error.msg}", _AGAIN) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets in brackets
        raise ConfigError(f"{path} cannot be read: {error}", _AGAIN) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError(f"{path} is no latency table: its format is not {FORMAT!r}", "`harness table import` reads those of other tools")
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ConfigError(f"{path} is of version {version}, newer than {VERSION}, which is known here", "update latency-harness")
    if version != VERSION or not isinstance(version, int) or isinstance(version, bool):
        raise ConfigError(f"{path}: version is {version!r}", f"expected: {VERSION}")
    try:
        return _table(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from None


def _table(data: dict[str, Any]) -> LatencyTable:
    for name in data:
        if name not in _PARTS:
            raise ConfigError(f"unknown field {name!r}{nearest(name, _PARTS)}", f"fields: {', '.join(_PARTS)}")
    if missing := [name for name in _PARTS if name not in data]:
        raise ConfigError(f"the table lacks {' and '.join(missing)}", _AGAIN)
    if not isinstance(data["rows"], list):
        raise ConfigError("rows is no list", _AGAIN)
    table = LatencyTable(
        read(Origin, data["origin"], "the origin"),
        tuple(read(Row, row, _name(number, row)) for number, row in enumerate(data["rows"], start=1)),
        None if data["calibration"] is None else read(Calibration, data["calibration"], "the calibration"),
        None if data["held_out"] is None else read(HeldOut, data["held_out"], "the held-out error"),
    )
    if table.calibration is not None:
        from harness.tables.calibrate import check_calibration

        check_calibration(table)
    return table


def _name(number: int, row: object) -> str:
    """Return what a row is called in an error: its key where it has one."""
    key = row.get("key") if isinstance(row, dict) else None
    return f"row {key}" if isinstance(key, str) else f"row {number}"


def _no_number(name: str) -> None:
    raise ConfigError(f"it holds {name}, which is no measurement", _AGAIN)
