"""Networks beside what was published of them: those of `models/`, variants that papers list, and those they only compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.errors import ConfigError
from harness.networks.catalogue import network_files, recipe_named
from harness.networks.data import models_dir
from harness.networks.named import is_name, network_named
from harness.networks.recipe import Published, published_of
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


def listed(names: Sequence[str] = ()) -> tuple[Listed, ...]:
    """Return the networks of these names, or every one, those that can be built first; raises ConfigError for an unknown name."""
    known = {network.name: network for network in sorted((*_of_files(), *_rows()), key=lambda one: one.parameters is None)}
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown network {name!r}{nearest(name, known)}", f"Known: {', '.join(known)}.")
    return tuple(known[name] for name in names or known)


def _of_files() -> Iterator[Listed]:
    for name in network_files():
        recipe = recipe_named(name)
        yield _built(name, recipe.title, recipe.published)


def _rows() -> Iterator[Listed]:
    path = models_dir() / _PUBLISHED
    for row in parse(path.read_text(encoding="utf-8"), path)["rows"]:
        name, title = row.pop("name"), row.pop("title")
        published = published_of(row)
        yield _built(name, title, published) if is_name(name) else Listed(name, title, None, None, published)


def _built(name: str, title: str, published: Published) -> Listed:
    network = network_named(name)
    return Listed(name, title, network.parameters, network.mult_adds, published)
