"""A network's file in `models/`: blocks as papers' tables list them, how width scales them, and what was published of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import ConfigError
from harness.networks.blocks import Block, divisible
from harness.networks.graph import Shape, text_of
from harness.networks.network import BlockError, Network, Training, training_of
from harness.networks.tables import block_of, check_default, fields_of, kind_of, shape_of
from harness.tomlfile import FieldError, line_of, lines_of_elements, located, nearest, parse

WidthRule = Literal["divisible", "floor"]
"""How scaled filters are rounded: to a multiple of 8 that is not 10% smaller, or down."""

Scaled = Literal["always", "grown", "never"]
"""Whether a block's filters follow the width: MobileNetV2's last convolution does above 1 alone."""

_KEYS: dict[str, type] = {
    "name": str,
    "title": str,
    "input": list,
    "width": str,
    "defaults": dict,
    "parts": dict,
    "blocks": list,
    "training": dict,
    "published": dict,
}
_KINDS = {str: "a text", list: "a list", dict: "a table", float: "a number"}


@dataclass(frozen=True)
class Published:
    """What a paper or its authors' code says of a network, None where they do not.

    Accuracies are in percent on `dataset`. `note` says what a count leaves out or includes.
    """

    parameters: float | None = None
    mult_adds: float | None = None
    top_1: float | None = None
    top_5: float | None = None
    pixel_1_ms: float | None = None
    dataset: str = "ImageNet"
    source: str = ""
    note: str = ""


_PUBLISHED_KINDS = {field.name: str if field.type == "str" else float for field in dataclasses.fields(Published)}


def published_of(table: Mapping[str, Any]) -> Published:
    """Return what a table says was published; its keys must be those of `Published`."""
    values: dict[str, Any] = {key: float(value) if _PUBLISHED_KINDS[key] is float else value for key, value in table.items()}
    return Published(**values)


@dataclass(frozen=True)
class Recipe:
    """What a file says, or a network that was written by `Network.to_toml`. `width` is None where the paper has no width multiplier."""

    name: str
    title: str
    input: Shape
    width: WidthRule | None
    blocks: tuple[tuple[Block, Scaled], ...]
    training: Training
    published: Published

    def network(self, name: str, width: float = 1.0, resolution: int | None = None) -> Network:
        """Return the network at a width and resolution, called `name`, None the resolution of its own input.

        Raises ConfigError for a width that leaves no channels, and for a resolution of a flat input.
        """
        if resolution is not None and len(self.input) != 3:
            raise ConfigError(f"{name}: a flat input of {text_of(self.input)} has no resolution", "leave the resolution out")
        shape = self.input if resolution is None else (resolution, resolution, self.input[2])
        return Network(name, shape, tuple(self._scaled(block, scaled, width, name) for block, scaled in self.blocks), self.training)

    def _scaled(self, block: Block, scaled: Scaled, width: float, name: str) -> Block:
        if width == 1 or scaled == "never" or (scaled == "grown" and width < 1) or "filters" not in fields_of(type(block)):
            return block
        filters = getattr(block, "filters")  # noqa: B009 - not every block has them
        found = divisible(filters * width) if self.width == "divisible" else int(filters * width)
        if found < 1:
            raise ConfigError(f"{name}: a width of {width:g} leaves no channels of {filters}", "use a larger width")
        return dataclasses.replace(block, filters=found)  # type: ignore[call-arg]


def read_recipe(path: Path) -> Recipe:
    """Return what the file at `path` says; raises ConfigError that names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the network {path}: {error}", "`harness models` lists those that come with the harness") from error
    return parse_recipe(text, path)


def parse_recipe(text: str, path: Path) -> Recipe:
    """Return what `text`, the content of `path`, says; raises ConfigError that names file and line."""
    table = parse(text, path)
    _check(table, _KEYS, text, path, ())
    for key in ("input", "blocks"):
        if not table.get(key):
            raise ConfigError(f"{path}: a network has {key}", 'such as input = [224, 224, 3], blocks = [{type = "conv", filters = 32}]')
    with located(text, path, ("input",)):
        shape = shape_of(table["input"])
    width = table.get("width")
    if width not in (None, "divisible", "floor"):
        raise _error(text, path, ("width",), f"width is {width!r}{nearest(width, ('divisible', 'floor'))}", "known: divisible, floor")
    _check(table.get("published", {}), _PUBLISHED_KINDS, text, path, ("published",))
    with located(text, path, ("training",)):
        training = training_of(table.get("training", {}))
    defaults, parts = table.get("defaults", {}), table.get("parts", {})
    for key, value in defaults.items():
        with located(text, path, ("defaults",)):
            check_default(key, value)
    for key, part in parts.items():
        if not isinstance(part, dict):
            raise _error(text, path, ("parts", key), f"part {key!r} is a table, not {part!r}", f"write [parts.{key}]")
    blocks: list[tuple[Block, Scaled]] = []
    lines: list[int] = []
    for line, entry in zip(lines_of_elements(text, ("blocks",)), table["blocks"], strict=True):
        try:
            blocks += _entry(entry, defaults, parts)
        except ConfigError as error:
            shared = _shared(error, entry, defaults, parts)
            raise ConfigError(f"{path}:{line_of(text, shared) if shared else line}: {error.message}", error.hint) from None
        lines += [line] * (len(blocks) - len(lines))
    name = table.get("name", path.stem)
    published = published_of(table.get("published", {}))
    recipe = Recipe(name, table.get("title", name), shape, width, tuple(blocks), training, published)
    try:
        _ = recipe.network(name).shapes
    except BlockError as error:
        raise ConfigError(f"{path}:{lines[error.position]}: {error.message}", error.hint) from None
    return recipe


def _shared(error: ConfigError, entry: object, defaults: Mapping[str, Any], parts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key of the part, or of the defaults, that gives an entry its wrong field; () where the entry itself is wrong."""
    if not isinstance(error, FieldError) or not isinstance(entry, dict) or error.field in entry:
        return ()
    part = entry.get("part")
    if part is not None and error.field in parts[part]:
        return "parts", part, error.field
    return ("defaults", error.field) if error.field in defaults else ()


def _entry(entry: object, defaults: Mapping[str, Any], parts: Mapping[str, Any]) -> Iterator[tuple[Block, Scaled]]:
    """Yield the blocks of one line: `repeat` times, the first with the stride; `scaled` says whether they follow the width.

    `part` names a table of `parts` that holds what several lines have in common.
    """
    if not isinstance(entry, dict):
        raise ConfigError(f"a block is a table, not {entry!r}", 'write {type = "conv", filters = 32, kernel = 3}')
    part = entry.get("part")
    if part is not None and not (isinstance(part, str) and part in parts):
        raise ConfigError(f"there is no part {part!r}{nearest(str(part), parts)}", f"write [parts.{part}] with what such blocks share")
    given = (parts[part] if part is not None else {}) | {key: value for key, value in entry.items() if key != "part"}
    repeat, scaled = given.pop("repeat", 1), given.pop("scaled", "always")
    if not isinstance(repeat, int) or isinstance(repeat, bool) or repeat < 1:
        raise FieldError(f"repeat is {repeat!r}", "expected: a whole number from 1 on", "repeat")
    if scaled not in ("always", "grown", "never"):
        raise FieldError(f"scaled is {scaled!r}", "known: always, grown (above a width of 1), never", "scaled")
    first = block_of(_defaulted(given, defaults))
    yield first, scaled
    for _ in range(repeat - 1):
        # The papers' tables mean it so: the first of a row has the stride.
        yield (dataclasses.replace(first, stride=(1, 1)) if hasattr(first, "stride") else first), scaled  # type: ignore[call-arg]


def _defaulted(entry: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with the file's defaults for the keys that its type has, in its branches too."""
    kind = kind_of(entry)
    known = fields_of(kind) if kind is not None else {}
    whole = {key: value for key, value in defaults.items() if key in known} | entry
    if isinstance(whole.get("branches"), list):
        whole["branches"] = [
            [_defaulted(item, defaults) if isinstance(item, dict) else item for item in chain] if isinstance(chain, list) else chain
            for chain in whole["branches"]
        ]
    return whole


def _check(table: Mapping[str, Any], known: Mapping[str, type], text: str, path: Path, where: tuple[str, ...]) -> None:
    for key, value in table.items():
        if key not in known:
            raise _error(text, path, (*where, key), f"unknown key {key!r}{nearest(key, known)}", f"keys: {', '.join(known)}")
        kind = known[key]
        if not isinstance(value, int | float if kind is float else kind) or isinstance(value, bool):
            raise _error(text, path, (*where, key), f"{key} is {_KINDS[kind]}, not {value!r}")


def _error(text: str, path: Path, key: tuple[str, ...], message: str, hint: str = "") -> ConfigError:
    return ConfigError(f"{path}:{line_of(text, key)}: {message}", hint)
