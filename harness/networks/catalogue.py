"""What `models/` holds: networks that can be built, search spaces, and rows of networks that were only published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import ConfigError
from harness.networks.data import models_dir
from harness.networks.recipe import Published, Recipe, published_of, read_recipe
from harness.networks.space import Space
from harness.networks.space_file import read_space
from harness.tomlfile import nearest, parse

_PUBLISHED = "published.toml"


@dataclass(frozen=True)
class Listed:
    """A network with what it costs, None where it was only published, beside what was published of it."""

    name: str
    title: str
    parameters: int | None
    mult_adds: int | None
    published: Published


@cache
def network_files() -> dict[str, Path]:
    """Return the file of each network by its name."""
    return {path.stem: path for path in _files() if "blocks" in parse(path.read_text(encoding="utf-8"), path)}


@cache
def space_files() -> dict[str, Path]:
    """Return the file of each search space by its name."""
    return {path.stem: path for path in _files() if "stages" in parse(path.read_text(encoding="utf-8"), path)}


def recipe_named(name: str) -> Recipe:
    """Return the recipe of a network; raises ConfigError with the nearest name where there is none such."""
    return read_recipe(_file(name, network_files(), "network"))


def space_named(name: str) -> Space:
    """Return a search space; raises ConfigError with the nearest name where there is none such."""
    return read_space(_file(name, space_files(), "search space"))


def listed(names: Sequence[str] = ()) -> tuple[Listed, ...]:
    """Return the networks of these names, or every one, those that can be built first; raises ConfigError for an unknown name."""
    built = []
    for name, path in network_files().items():
        recipe = read_recipe(path)
        network = recipe.network(name)
        built.append(Listed(name, recipe.title, network.parameters, network.mult_adds, recipe.published))
    known = {network.name: network for network in (*built, *_only_published())}
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown network {name!r}{nearest(name, known)}", f"Known: {', '.join(known)}.")
    return tuple(known[name] for name in names or known)


def _only_published() -> tuple[Listed, ...]:
    path = models_dir() / _PUBLISHED
    rows = []
    for row in parse(path.read_text(encoding="utf-8"), path)["rows"]:
        name, title = row.pop("name"), row.pop("title")
        rows.append(Listed(name, title, None, None, published_of(row)))
    return tuple(rows)


def _files() -> list[Path]:
    return sorted(models_dir().glob("*.toml"))


def _file(name: str, files: dict[str, Path], what: str) -> Path:
    if name not in files:
        raise ConfigError(f"unknown {what} {name!r}{nearest(name, files)}", f"Known: {', '.join(files)}.")
    return files[name]
