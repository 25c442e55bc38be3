"""What `models/` holds: networks and search spaces, by their names."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.errors import ConfigError
from harness.networks.data import models_dir
from harness.networks.recipe import Recipe, read_recipe
from harness.networks.space import Space
from harness.networks.space_file import read_space
from harness.tomlfile import nearest, parse


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


def _files() -> list[Path]:
    return sorted(models_dir().glob("*.toml"))


def _file(name: str, files: dict[str, Path], what: str) -> Path:
    if name not in files:
        raise ConfigError(f"unknown {what} {name!r}{nearest(name, files)}", f"Known: {', '.join(files)}.")
    return files[name]
