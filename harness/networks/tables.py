"""Blocks as tables of plain values, as TOML and JSON hold them, and back."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from harness.errors import ConfigError
from harness.networks.blocks import (
    Activated,
    Block,
    Bottleneck,
    Conv,
    DenseLayer,
    Depthwise,
    DropoutLayer,
    FlattenMap,
    GlobalPool,
    MBConv,
    Pool,
    Separable,
    Size,
)
from harness.networks.graph import Shape
from harness.networks.layers import Cropped, Padded, Reading, Scaled, Sum
from harness.networks.wiring import Branches, Cell, Gather, SkipConv
from harness.tomlfile import FieldError, nearest

BLOCKS: dict[str, type[Block]] = {
    block.type: block
    for block in (
        *(Conv, Depthwise, Separable, MBConv, Bottleneck, Pool, GlobalPool, FlattenMap, DenseLayer, Activated, DropoutLayer),
        *(Branches, SkipConv, Gather, Cell),
        *(Sum, Scaled, Padded, Cropped, Reading),
    )
}
"""The blocks by the `type` that files call them."""

_CHAINS = tuple[tuple[Block, ...], ...]


def _fields(kind: type[Block]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


_FIELDS = {name: _fields(kind) for name, kind in BLOCKS.items()}


def table_of(block: Block) -> dict[str, Any]:
    """Return a block as a table: its type, and the fields that are not at their defaults."""
    table: dict[str, Any] = {"type": block.type}
    hints = fields_of(type(block))
    for field in dataclasses.fields(block):
        value = getattr(block, field.name)
        if value != field.default:
            table[field.name] = _plain(value, hints[field.name])
    return table


def _plain(value: Any, hint: Any = None) -> Any:
    if hint == Size and value[0] == value[1]:
        return value[0]
    if hint is float:
        return float(value)  # equal blocks have equal tables
    if isinstance(value, Block):
        return table_of(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def block_of(table: object) -> Block:
    """Return the block that a table describes; raises ConfigError that says which value is wrong and what was expected.

    It is a FieldError where one field is to blame; of a block in branches the field is `branches`.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"a block is a table, not {table!r}", 'write {type = "conv", filters = 32, kernel = 3}')
    kind = kind_of(table)
    if kind is None:
        if "type" not in table:
            raise ConfigError("a block without a type", f"types: {', '.join(BLOCKS)}")
        name = table["type"]
        raise FieldError(f"unknown block {name!r}{nearest(str(name), BLOCKS)}", f"types: {', '.join(BLOCKS)}", "type")
    name, hints = kind.type, fields_of(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "type":
            continue
        if key not in hints:
            raise FieldError(f"unknown key {key!r} of {name}{nearest(key, hints)}", f"keys: {', '.join(hints) or 'none'}", key)
        try:
            values[key] = _value(hints[key], value, f"{key} of {name}")
        except ConfigError as error:
            raise FieldError(error.message, error.hint, key) from None
    missing = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING and field.name not in values]
    if missing:
        raise ConfigError(f"{name} lacks {' and '.join(missing)}", f"keys: {', '.join(hints)}")
    return kind(**values)


def kind_of(table: Mapping[str, Any]) -> type[Block] | None:
    """Return the kind of block that a table's type names, None where it names none."""
    name = table.get("type")
    return BLOCKS.get(name) if isinstance(name, str) else None


def check_default(name: str, value: object) -> None:
    """Raise FieldError where no kind of block has a field of this name, or none takes this value for it."""
    fields = {kind: hints[name] for kind, hints in _FIELDS.items() if name in hints}
    if not fields:
        known = list(dict.fromkeys(field for hints in _FIELDS.values() for field in hints))
        raise FieldError(f"unknown key {name!r} of defaults{nearest(name, known)}", f"keys: {', '.join(known)}", name)
    mistakes = []
    for kind, hint in fields.items():
        if hint == _CHAINS:
            return  # blocks that take the defaults in turn
        try:
            _value(hint, value, f"{name} of {kind}")
        except ConfigError as error:
            mistakes.append(error)
    if len(mistakes) == len(fields):
        raise FieldError(mistakes[0].message, mistakes[0].hint, name)


def shape_of(value: object) -> Shape:
    """Return the shape of a network's input as a file has it; raises ConfigError for what is none."""
    if not (isinstance(value, list) and len(value) in (1, 3) and all(map(is_count, value))):
        raise ConfigError(f"input is {value!r}", "write [height, width, channels], or [units] for a flat one")
    return tuple(value)


def fields_of(kind: type[Block]) -> dict[str, Any]:
    """Return the type of each field of a block."""
    return _FIELDS[kind.type]


def _value(hint: Any, value: Any, what: str) -> Any:
    """Return a table's value as the field's type has it."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{what} is {value!r}{nearest(str(value), get_args(hint))}", f"known: {', '.join(get_args(hint))}")
        return value
    if hint == Size:
        pair = [value, value] if is_count(value) else value
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(is_count, pair))):
            raise ConfigError(f"{what} is {value!r}", "write a whole number, or [height, width]")
        return tuple(pair)
    if hint is int:
        return _checked(is_count(value), value, what, "a whole number from 1 on")
    if hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max
        return float(_checked(fits, value, what, "a number from 0 on"))
    if hint is bool:
        return _checked(isinstance(value, bool), value, what, "true or false")
    if hint == tuple[int, ...]:
        fits = isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
        return tuple(_checked(fits, value, what, "a list of whole numbers"))
    if hint == tuple[str, ...]:
        return tuple(_checked(isinstance(value, list) and all(isinstance(item, str) for item in value), value, what, "a list of texts"))
    if hint is Block:
        return block_of(value)
    assert hint == _CHAINS, hint
    fits = isinstance(value, list) and all(isinstance(chain, list) for chain in value)
    return tuple(tuple(block_of(item) for item in chain) for chain in _checked(fits, value, what, "a list of lists of blocks"))


def is_count(value: object) -> bool:
    """Return whether a value is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _checked(fits: bool, value: Any, what: str, expected: str) -> Any:
    if not fits:
        raise ConfigError(f"{what} is {value!r}", f"expected: {expected}")
    return value
