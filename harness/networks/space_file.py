"""A search space's file in `models/`: a stem, stages with their choices, a head."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import ConfigError
from harness.networks.network import BlockError, training_of
from harness.networks.space import Choice, Space, Stage, Tokens, layer_of
from harness.networks.tables import BLOCKS, block_of, is_count, kind_of, shape_of
from harness.tomlfile import FieldError, line_of, lines_of_elements, located, nearest, parse

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
    "training": dict,
}
_WORDS = {str: "a text", list: "a list", dict: "a table", bool: "true or false"}
_MOST_OPTIONS = 36
"""A choice is one character of a candidate's text: a digit or a small letter."""

_MOST_LAYERS = 1000
"""Of one stage: more than any network has, and few enough to be built at once."""

BuiltT = TypeVar("BuiltT")


def read_space(path: Path) -> Space:
    """Return the space that the file at `path` describes; raises ConfigError that names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "give the path of a .toml file, or a space that comes with the harness: space:mnasnet/STRING"
        raise ConfigError(f"cannot read the search space {path}: {error}", hint) from error
    return parse_space(text, path)


def parse_space(text: str, path: Path) -> Space:
    """Return the space that `text`, the content of `path`, describes; raises ConfigError that names file and line."""
    table = parse(text, path)
    lines = {key: lines_of_elements(text, (key,)) for key in ("stem", "stages", "head")}

    def error(key: tuple[str, ...], message: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{path}:{line_of(text, key)}: {message}", hint)

    def each(key: str, build: Callable[[Any], BuiltT]) -> tuple[BuiltT, ...]:
        built = []
        for line, entry in zip(lines[key], table.get(key, ()), strict=True):
            try:
                built.append(build(entry))
            except ConfigError as wrong:
                shared = _shared(wrong, entry, table) if key == "stages" else ()
                raise ConfigError(f"{path}:{line_of(text, shared) if shared else line}: {wrong.message}", wrong.hint) from None
        return tuple(built)

    for key, value in table.items():
        if key not in _KINDS:
            raise error((key,), f"unknown key {key!r}{nearest(key, _KINDS)}", f"keys: {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[key]):
            raise error((key,), f"{key} is {_WORDS[_KINDS[key]]}, not {value!r}")
    for key in ("input", "stages"):
        if not table.get(key):
            raise ConfigError(f"{path}: a search space has {key}", "such as stages = [{filters = [16, 24], layers = [1, 2]}]")
    with located(text, path, ("input",)):
        shape = shape_of(table["input"])
    with located(text, path, ("training",)):
        training = training_of(table.get("training", {}))
    for name, options in table.get("choices", {}).items():
        if not isinstance(options, list):
            raise error(("choices", name), f"the choices of {name} are {options!r}", "write a list: kernel = [3, 5]")
    per_layer, skips = table.get("per_layer", False), table.get("skips", False)
    if skips and not (per_layer and len(table["stages"]) == 1):
        raise error(("skips",), "skips need one stage, whose layers choose for themselves", "write per_layer = true")
    stages = each("stages", lambda entry: _stage(entry, table.get("choices", {}), table.get("fixed", {}), per_layer, skips))
    stem, head = each("stem", block_of), each("head", block_of)
    space = Space(path.stem, table.get("title", path.stem), shape, stem, stages, head, training)
    for tokens in _first_and_last(space):
        try:
            _ = space.network(tokens).shapes
        except ConfigError as wrong:
            where = f":{_lines_of_blocks(space, tokens, lines)[wrong.position]}" if isinstance(wrong, BlockError) else ""
            raise ConfigError(f"{path}{where}: a candidate of it fails: {wrong.message}", wrong.hint) from None
    return space


def _shared(wrong: ConfigError, entry: object, table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key, of the choices or of the fixed values, that gives a stage its wrong field; () where the stage itself does."""
    if not isinstance(wrong, FieldError) or not isinstance(entry, dict):
        return ()
    for name in (wrong.field, f"{wrong.field}_height", f"{wrong.field}_width", "op"):
        if name in entry:
            return ()
        for key in ("choices", "fixed"):
            if name in table.get(key, {}):
                return key, name
    return ()


def _first_and_last(space: Space) -> Iterator[Tokens]:
    """Yield the candidate that has the first option of each choice, and that which has the last of those there are to choose."""
    yield (0,) * len(space.positions)
    last: list[int] = []
    for stage in space.stages:
        part = [position.options - 1 for position in stage.positions]
        active = stage.active(part)
        last += part[:active] + [0] * (len(part) - active)
    yield tuple(last)


def _lines_of_blocks(space: Space, tokens: Tokens, lines: Mapping[str, list[int]]) -> list[int]:
    """Return the line that each block of a candidate comes from."""
    found = list(lines["stem"])
    for line, stage, part in zip(lines["stages"], space.stages, space.parts(tokens), strict=True):
        found += [line] * len(stage.blocks(part, len(found)))
    return found + lines["head"]


def _stage(entry: object, shared: Mapping[str, list[Any]], fixed: Mapping[str, Any], per_layer: bool, skips: bool) -> Stage:
    """Return the stage of one line: a list is a choice, anything else holds for all its layers."""
    if not isinstance(entry, dict):
        raise ConfigError(f"a stage is a table, not {entry!r}", "write {filters = [16, 24], layers = [1, 2], stride = 2}")
    given = dict(entry)
    layers, stride = given.pop("layers", 1), given.pop("stride", 1)
    layers = layers if isinstance(layers, list) else [layers]
    sound = all(map(is_count, [*layers, stride])) and len(set(layers)) == len(layers)
    if not sound or not 1 <= len(layers) <= _MOST_OPTIONS or max(layers) > _MOST_LAYERS:
        hint = f"write whole numbers from 1 on, 1 to {_MOST_OPTIONS} different ones of layers, up to {_MOST_LAYERS}: layers = [2, 3]"
        raise ConfigError(f"layers are {layers}, stride is {stride!r}", hint)
    constants = dict(fixed) | {name: value for name, value in given.items() if not isinstance(value, list)}
    options = {name: value for name, value in shared.items() if name not in given}
    options |= {name: value for name, value in given.items() if isinstance(value, list)}
    for name, values in options.items():
        if not 1 <= len(values) <= _MOST_OPTIONS or len({repr(value) for value in values}) != len(values):
            raise FieldError(f"the choices of {name} are {values}", f"expected: 1 to {_MOST_OPTIONS} different values", name)
    stage = Stage(
        layers=tuple(layers),
        stride=stride,
        choices=tuple(Choice(name, tuple(_op(value) if name == "op" else value for value in values)) for name, values in options.items()),
        fixed=tuple((name, _op(value) if name == "op" else value) for name, value in constants.items()),
        per_layer=per_layer,
        skips=skips,
    )
    _check_options(stage)
    return stage


def _check_options(stage: Stage) -> None:
    """Raise ConfigError for an option that a layer cannot have, whatever its op."""
    options = {choice.name: choice.options for choice in stage.choices}
    fixed = dict(stage.fixed) | ({"inputs": [0]} if stage.skips else {})
    first = fixed | {name: values[0] for name, values in options.items()}
    ops = options.pop("op", (fixed.get("op", ()),))
    changes: list[dict[str, Any]] = [{}, *({name: value} for name, values in options.items() for value in values)]
    for op, change in itertools.product(ops, changes):
        try:
            layer_of(first | {"op": op} | change, stage.stride)
        except FieldError as wrong:
            if stage.skips and wrong.field == "inputs":
                what = "with skips a layer reads several others, which its op cannot"
                raise FieldError(what, 'write op = "skip_conv"', "op") from None
            raise


def _op(value: object) -> tuple[tuple[str, Any], ...]:
    """Return the fields that an option of `op` gives a block."""
    table = value if isinstance(value, dict) else {"type": value}
    if kind_of(table) is None:
        name = table.get("type")
        raise FieldError(f"unknown op {name!r}{nearest(str(name), BLOCKS)}", f"types: {', '.join(BLOCKS)}", "op")
    return tuple(table.items())
