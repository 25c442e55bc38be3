"""Networks by a text: `mobilenet_v2:width=0.5,resolution=160`, a candidate `space:mnasnet/STRING`, or a file of one's own.

The space of a candidate may be a file of one's own too: `space:my_space.toml/STRING`.
"""

from __future__ import annotations

import math
from pathlib import Path

from harness.errors import ConfigError
from harness.networks.catalogue import network_files, recipe_named, space_named
from harness.networks.network import Network
from harness.networks.recipe import Recipe, read_recipe
from harness.networks.space import Space
from harness.networks.space_file import read_space

SUFFIX = ".toml"
_SPACE = "space:"
_WIDEST = 10
_FINEST = 4096


def is_name(text: str) -> bool:
    """Return whether a text names a network of the zoo or of a file with options, or a candidate of a search space."""
    return text.startswith(_SPACE) or f"{SUFFIX}:" in text or text.partition(":")[0] in network_files()


def network_named(text: str) -> Network:
    """Return the network that a text names, called by its canonical name: options at their defaults are left out.

    A file's name may stand in place of a network's. Raises ConfigError for an unknown name, option or candidate, for a mistake in a file
    (with its line), and where width and resolution leave no network.
    """
    if text.startswith(_SPACE):
        network = _candidate(text)
    elif text.endswith(SUFFIX) or f"{SUFFIX}:" in text:
        path, colon, options = text.partition(f"{SUFFIX}:")
        file = Path(f"{path}{SUFFIX}" if colon else text).expanduser()
        network = _scaled(read_recipe(file), text, options.split(",") if colon else [])
    else:
        name, colon, options = text.partition(":")
        network = _scaled(recipe_named(name), text, options.split(",") if colon else [])
    assert network.shapes
    return network


def _candidate(text: str) -> Network:
    space, slash, candidate = text.removeprefix(_SPACE).rpartition("/")
    if not slash or candidate.endswith(SUFFIX):
        known = text.removeprefix(_SPACE)
        raise ConfigError(f"{text}: a candidate is space:NAME/STRING", f"such as space:{known}/{_an_example(known)}")
    found = _space(space)
    return found.network(found.decode(candidate))


def _space(name: str) -> Space:
    return read_space(Path(name).expanduser()) if name.endswith(SUFFIX) else space_named(name)


def _an_example(space: str) -> str:
    found = _space(space)
    return found.encode([0] * len(found.positions))


def _scaled(recipe: Recipe, text: str, items: list[str]) -> Network:
    known = ["width"] * (recipe.width is not None) + ["resolution"] * (len(recipe.input) == 3)
    hint = f"Known options: {', '.join(f'{option}=NUMBER' for option in known)}."
    if not known:
        hint = f"{recipe.name} has no options: leave out the colon and what follows it."
    options: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or key not in known or key in options:
            what = "is given twice" if key in options else "is not an option"
            raise ConfigError(f"{text}: {item!r} {what} of {recipe.name}", hint)
        options[key] = value
    width = _width(text, options["width"]) if "width" in options else 1.0
    resolution = _resolution(text, options["resolution"]) if "resolution" in options else None
    resized = resolution is not None and recipe.input[:2] != (resolution, resolution)
    said = ([f"width={width!r}"] if width != 1 else []) + ([f"resolution={resolution}"] if resized else [])
    return recipe.network(":".join([recipe.name, *([",".join(said)] if said else [])]), width, resolution)


def _width(text: str, value: str) -> float:
    try:
        width = float(value)
    except ValueError:
        width = math.nan
    if not 0 < width <= _WIDEST:
        raise ConfigError(f"{text}: width {value!r} is not a number above 0 and up to {_WIDEST}", "For example width=0.5.")
    return width


def _resolution(text: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 6 and 0 < int(value) <= _FINEST):
        raise ConfigError(f"{text}: resolution {value!r} is not a whole number from 1 to {_FINEST}", "For example resolution=160.")
    return int(value)
