"""A search space's file in `models/`: a stem, stages with their choices, a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import ConfigError
from harness.networks.space import Choice, Space, Stage
from harness.networks.tables import BLOCKS, block_of
from harness.tomlfile import line_of, lines_of_elements, nearest, parse

_KINDS: dict[str, type] = {
    "title": str,
    "input": list,
    "stem": list,
    "stages": list,
    "head": list,
    "choices": dict,
    "fixed": dict,
    "per_layer": bool,
    "skips": bool,
}
_WORDS = {str: "a text", list: "a list", dict: "a table", bool: "true or false"}
_MOST_OPTIONS = 36
"""A choice is one character of a candidate's text: a digit or a small letter."""

BuiltT = TypeVar("BuiltT")


def read_space(path: Path) -> Space:
    """Return the space that the file at `path` describes; raises ConfigError that names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the search space {path}: {error}") from error
    return parse_space(text, path)


def parse_space(text: str, path: Path) -> Space:
    """Return the space that `text`, the content of `path`, describes; raises ConfigError that names file and line."""
    table = parse(text, path)

    def error(key: tuple[str, ...], message: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{path}:{line_of(text, key)}: {message}", hint)

    def each(key: str, build: Callable[[Any], BuiltT]) -> tuple[BuiltT, ...]:
        built = []
        for line, entry in zip(lines_of_elements(text, (key,)) if key in table else (), table.get(key, ()), strict=True):
            try:
                built.append(build(entry))
            except ConfigError as wrong:
                raise ConfigError(f"{path}:{line}: {wrong.message}", wrong.hint) from None
        return tuple(built)

    for key, value in table.items():
        if key not in _KINDS:
            raise error((key,), f"unknown key {key!r}{nearest(key, _KINDS)}", f"keys: {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[key]):
            raise error((key,), f"{key} is {_WORDS[_KINDS[key]]}, not {value!r}")
    for key in ("input", "stages"):
        if not table.get(key):
            raise ConfigError(f"{path}: a search space has {key}", "such as stages = [{filters = [16, 24], layers = [1, 2]}]")
    for name, options in table.get("choices", {}).items():
        if not isinstance(options, list):
            raise error(("choices", name), f"the choices of {name} are {options!r}", "write a list: kernel = [3, 5]")
    per_layer, skips = table.get("per_layer", False), table.get("skips", False)
    if skips and not (per_layer and len(table["stages"]) == 1):
        raise error(("skips",), "skips need one stage, whose layers choose for themselves", "write per_layer = true")
    stages = each("stages", lambda entry: _stage(entry, table.get("choices", {}), table.get("fixed", {}), per_layer, skips))
    stem, head = each("stem", block_of), each("head", block_of)
    space = Space(path.stem, table.get("title", path.stem), tuple(table["input"]), stem, stages, head)
    for choices in ([0] * len(space.positions), [position.options - 1 for position in space.positions]):
        try:
            _ = space.network(choices).shapes
        except ConfigError as wrong:
            raise ConfigError(f"{path}: a candidate of it fails: {wrong.message}", wrong.hint) from None
    return space


def _stage(entry: object, shared: Mapping[str, list[Any]], fixed: Mapping[str, Any], per_layer: bool, skips: bool) -> Stage:
    """Return the stage of one line: a list is a choice, anything else holds for all its layers."""
    if not isinstance(entry, dict):
        raise ConfigError(f"a stage is a table, not {entry!r}", "write {filters = [16, 24], layers = [1, 2], stride = 2}")
    given = dict(entry)
    layers, stride = given.pop("layers", 1), given.pop("stride", 1)
    layers = layers if isinstance(layers, list) else [layers]
    if not layers or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in [*layers, stride]):
        raise ConfigError(f"layers are {layers}, stride is {stride!r}", "write whole numbers from 1 on: layers = [2, 3], stride = 2")
    constants = dict(fixed) | {name: value for name, value in given.items() if not isinstance(value, list)}
    options = {name: value for name, value in shared.items() if name not in given}
    options |= {name: value for name, value in given.items() if isinstance(value, list)}
    for name, values in options.items():
        if not 1 <= len(values) <= _MOST_OPTIONS or len({repr(value) for value in values}) != len(values):
            raise ConfigError(f"the choices of {name} are {values}", f"expected: 1 to {_MOST_OPTIONS} different values")
    return Stage(
        layers=tuple(layers),
        stride=stride,
        choices=tuple(Choice(name, tuple(_op(value) if name == "op" else value for value in values)) for name, values in options.items()),
        fixed=tuple((name, _op(value) if name == "op" else value) for name, value in constants.items()),
        per_layer=per_layer,
        skips=skips,
    )


def _op(value: object) -> tuple[tuple[str, Any], ...]:
    """Return the fields that an option of `op` gives a block."""
    table = {"type": value} if isinstance(value, str) else value
    name = table.get("type") if isinstance(table, dict) else value
    if not isinstance(table, dict) or name not in BLOCKS:
        raise ConfigError(f"unknown op {name!r}{nearest(str(name), BLOCKS)}", f"types: {', '.join(BLOCKS)}")
    return tuple(table.items())
