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
_OPTIONS = ("width", "resolution")


def is_name(text: str) -> bool:
    """Return whether a text names a network of the zoo, with options or without, or a candidate of a search space."""
    return text.startswith(_SPACE) or text.partition(":")[0] in network_files()


def network_named(text: str) -> Network:
    """Return the network that a text names, called by its canonical name: options at their defaults are left out.

    Raises ConfigError for an unknown name, option or candidate, and where width and resolution leave no network.
    """
    if text.startswith(_SPACE):
        space, slash, candidate = text.removeprefix(_SPACE).rpartition("/")
        if not slash:
            raise ConfigError(f"{text}: a candidate is space:NAME/STRING", f"such as space:{candidate}/{_an_example(candidate)}")
        found = _space(space)
        network = found.network(found.decode(candidate))
    else:
        name, colon, options = text.partition(":")
        network = _scaled(recipe_named(name), text, options.split(",") if colon else [])
    assert network.shapes
    return network


def network_in(path: Path) -> Network:
    """Return the network of a file of one's own; raises ConfigError that names file and line."""
    recipe = read_recipe(path)
    network = recipe.network(recipe.name)
    assert network.shapes
    return network


def _space(name: str) -> Space:
    return read_space(Path(name)) if name.endswith(SUFFIX) else space_named(name)


def _an_example(space: str) -> str:
    found = _space(space)
    return found.encode([0] * len(found.positions))


def _scaled(recipe: Recipe, text: str, items: list[str]) -> Network:
    known = _OPTIONS if recipe.width is not None else _OPTIONS[1:]
    options: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or key not in known or key in options:
            what = "is given twice" if key in options else "is not an option"
            raise ConfigError(
                f"{text}: {item!r} {what} of {recipe.name}", f"Known options: {', '.join(f'{option}=NUMBER' for option in known)}."
            )
        options[key] = value
    width = _width(text, options["width"]) if "width" in options else 1.0
    resolution = _resolution(text, options["resolution"]) if "resolution" in options else recipe.input[0]
    said = ([f"width={width!r}"] if width != 1 else []) + ([f"resolution={resolution}"] if resolution != recipe.input[0] else [])
    return recipe.network(":".join([recipe.name, *([",".join(said)] if said else [])]), width, resolution)


def _width(text: str, value: str) -> float:
    try:
        width = float(value)
    except ValueError:
        width = math.nan
    if not 0 < width < math.inf:
        raise ConfigError(f"{text}: width {value!r} is not a number above 0", "For example width=0.5.")
    return width


def _resolution(text: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 0 < len(value) < 6 and int(value) > 0):
        raise ConfigError(f"{text}: resolution {value!r} is not a whole number of pixels", "For example resolution=160.")
    return int(value)
