"""Blocks as tables of plain values, as TOML and JSON hold them, and back."""

from __future__ import annotations

import dataclasses
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
)
from harness.networks.wiring import Branches, Cell, Gather, SkipConv
from harness.tomlfile import nearest

BLOCKS: dict[str, type[Block]] = {
    block.type: block
    for block in (
        *(Conv, Depthwise, Separable, MBConv, Bottleneck, Pool, GlobalPool, FlattenMap, DenseLayer, Activated, DropoutLayer),
        *(Branches, SkipConv, Gather, Cell),
    )
}
"""The blocks by the `type` that files call them."""


def _fields(kind: type[Block]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


_FIELDS = {name: _fields(kind) for name, kind in BLOCKS.items()}


def table_of(block: Block) -> dict[str, Any]:
    """Return a block as a table: its type, and the fields that are not at their defaults."""
    table: dict[str, Any] = {"type": block.type}
    for field in dataclasses.fields(block):
        value = getattr(block, field.name)
        if value != field.default:
            table[field.name] = _plain(value)
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, Block):
        return table_of(value)
    if isinstance(value, tuple):
        if len(value) == 2 and value[0] == value[1] and isinstance(value[0], int):
            return value[0]
        return [_plain(item) for item in value]
    return value


def block_of(table: object) -> Block:
    """Return the block that a table describes; raises ConfigError that says which value is wrong and what was expected."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"a block is a table, not {table!r}", 'write {type = "conv", filters = 32, kernel = 3}')
    name = table.get("type")
    kind = BLOCKS.get(name) if isinstance(name, str) else None
    if kind is None:
        what = "a block without a type" if name is None else f"unknown block {name!r}{nearest(str(name), BLOCKS)}"
        raise ConfigError(what, f"types: {', '.join(BLOCKS)}")
    hints = fields_of(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "type":
            continue
        if key not in hints:
            raise ConfigError(f"unknown key {key!r} of {name}{nearest(key, hints)}", f"keys: {', '.join(hints) or 'none'}")
        values[key] = _value(hints[key], value, f"{key} of {name}")
    missing = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING and field.name not in values]
    if missing:
        raise ConfigError(f"{name} lacks {' and '.join(missing)}", f"keys: {', '.join(hints)}")
    return kind(**values)


def fields_of(kind: type[Block]) -> dict[str, Any]:
    """Return the type of each field of a block."""
    return _FIELDS[kind.type]


def _value(hint: Any, value: Any, what: str) -> Any:
    """Return a table's value as the field's type has it."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{what} is {value!r}{nearest(str(value), get_args(hint))}", f"known: {', '.join(get_args(hint))}")
        return value
    if hint == tuple[int, int]:
        pair = [value, value] if _is_count(value) else value
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_count, pair))):
            raise ConfigError(f"{what} is {value!r}", "write a whole number, or [height, width]")
        return tuple(pair)
    if hint is int:
        return _checked(_is_count(value), value, what, "a whole number from 1 on")
    if hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        return float(_checked(fits, value, what, "a number from 0 on"))
    if hint is bool:
        return _checked(isinstance(value, bool), value, what, "true or false")
    if hint == tuple[int, ...]:
        fits = isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
        return tuple(_checked(fits, value, what, "a list of whole numbers"))
    if hint == tuple[str, ...]:
        return tuple(_checked(isinstance(value, list) and all(isinstance(item, str) for item in value), value, what, "a list of texts"))
    assert hint == tuple[tuple[Block, ...], ...], hint
    fits = isinstance(value, list) and all(isinstance(chain, list) for chain in value)
    return tuple(tuple(block_of(item) for item in chain) for chain in _checked(fits, value, what, "a list of lists of blocks"))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _checked(fits: bool, value: Any, what: str, expected: str) -> Any:
    if not fits:
        raise ConfigError(f"{what} is {value!r}", f"expected: {expected}")
    return value
