"""A network as data: an input shape and blocks. It knows what it costs, and is the same in TOML, in JSON and in Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args

from harness.errors import ConfigError
from harness.networks.blocks import Block, block_costs, block_key
from harness.networks.graph import Costs, Graph, Precision, Shape, text_of
from harness.networks.tables import block_of, shape_of, table_of
from harness.tomlfile import FieldError, nearest, parse

Initializer = Literal["he_normal", "he_normal_fan_out", "glorot_uniform", "truncated_normal_0.09", "normal_0.01"]
"""Distributions of first weights by the names that Keras has for them; with a number, of that standard deviation."""


class BlockError(ConfigError):
    """A block of a network cannot take its input; `position` is the block's, from 0."""

    def __init__(self, message: str, hint: str = "", position: int = 0) -> None:
        super().__init__(message, hint)
        self.position = position


@dataclass(frozen=True)
class Training:
    """How a network is set up to be trained, as its paper has it: batch norm and the weights to start from."""

    norm_momentum: float = 0.99
    norm_epsilon: float = 0.001
    initializer: Initializer = "he_normal"


def training_of(table: object) -> Training:
    """Return what a table says of training; raises ConfigError for anything else."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"training is {table!r}", "expected: a table")
    known = {field.name for field in fields(Training)}
    for key, value in table.items():
        if key not in known:
            raise FieldError(f"unknown key {key!r} of training{nearest(key, known)}", f"keys: {', '.join(sorted(known))}", key)
        if key == "initializer" and value not in get_args(Initializer):
            hint = f"known: {', '.join(get_args(Initializer))}"
            raise FieldError(f"initializer is {value!r}{nearest(str(value), get_args(Initializer))}", hint, key)
        if key != "initializer" and not (isinstance(value, float) and 0 < value < 1):
            raise FieldError(f"{key} is {value!r}", "expected: a number between 0 and 1", key)
    return Training(**table)


@dataclass(frozen=True)
class Network:
    """An input shape (height, width, channels) and blocks, each of which reads the output of the one before, or earlier ones."""

    name: str
    input: Shape
    blocks: tuple[Block, ...]
    training: Training = Training()

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of the input and of each block's output; raises BlockError for the first block that cannot take its input."""
        return tuple(shape for shape, _ in self._walk())

    @cached_property
    def costs(self) -> Costs:
        """What its blocks cost together; raises BlockError like `shapes`."""
        total = Costs()
        for _, costs in self._walk():
            total += costs
        return total

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return self.costs.parameters

    @property
    def mult_adds(self) -> int:
        """The number of mult-adds of its convolutions and dense layers."""
        return self.costs.mult_adds

    def weight_bytes(self, precision: Precision) -> int:
        """Return how many bytes its weights and biases take in a file."""
        return self.costs.weight_bytes(precision)

    def activation_bytes(self, precision: Precision) -> int:
        """Return how many bytes its operations write."""
        return self.costs.activation_bytes(precision)

    @cached_property
    def block_keys(self) -> tuple[str, ...]:
        """The key of each block with the shapes of its inputs."""
        return tuple(block_key(block, self.inputs_of(position)) for position, block in enumerate(self.blocks))

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of what it computes; its name and how it is trained do not count."""
        described = {"input": self.input, "blocks": [table_of(block) for block in self.blocks]}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    @property
    def hash(self) -> str:
        """The first 12 digits of `sha256`, for people."""
        return self.sha256[:12]

    def inputs_of(self, position: int) -> tuple[Shape, ...]:
        """Return the shapes that the block at a position reads."""
        return tuple(self.shapes[source] for source in self.blocks[position].reads(position))

    def graph(self) -> tuple[Graph, int]:
        """Return all operations in the order they run, and the position of the output."""
        assert self.shapes
        graph = Graph(self.input)
        outputs = [0]
        for position, block in enumerate(self.blocks):
            outputs.append(block.expand(graph, *(outputs[source] for source in block.reads(position))))
        return graph, outputs[-1]

    def to_table(self) -> dict[str, Any]:
        """Return it as plain values, which TOML and JSON can hold."""
        table = {"name": self.name, "input": list(self.input), "blocks": [table_of(block) for block in self.blocks]}
        return table if self.training == Training() else table | {"training": asdict(self.training)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Return the network of `to_table`; raises ConfigError for anything else."""
        name, blocks = table.get("name"), table.get("blocks")
        known = set(table) <= {"name", "input", "blocks", "training"}
        if not (isinstance(name, str) and "input" in table and isinstance(blocks, list) and known):
            raise ConfigError(f"a network is a name, an input shape and blocks, not {sorted(table)}", "input = [224, 224, 3]")
        return cls(name, shape_of(table["input"]), tuple(map(block_of, blocks)), training_of(table.get("training", {})))

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(self.to_table())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the network of `to_json`; raises ConfigError for anything else."""
        try:
            table = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"this is no JSON: {error}") from None
        if not isinstance(table, dict):
            raise ConfigError(f"a network is a JSON object, not {type(table).__name__}")
        return cls.from_table(table)

    def to_toml(self) -> str:
        """Return it as TOML text, a block a line."""
        import tomlkit

        document = tomlkit.document()
        document["name"] = self.name
        document["input"] = list(self.input)
        lines = tomlkit.array().multiline(multiline=True)
        for block in self.blocks:
            inline = tomlkit.inline_table()
            inline.update(table_of(block))
            lines.append(inline)
        document["blocks"] = lines
        if self.training != Training():
            document["training"] = asdict(self.training)
        return tomlkit.dumps(document)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Return the network of `to_toml`; raises ConfigError for anything else."""
        return cls.from_table(parse(text, Path("network.toml")))

    def _walk(self) -> Iterator[tuple[Shape, Costs]]:
        """Yield the input, and each block's output with its costs."""
        shapes = [self.input]
        yield self.input, Costs()
        for position, block in enumerate(self.blocks):
            try:
                sources = tuple(shapes[source] for source in block.reads(position))
                shape, costs = block_costs(block, sources)
            except ConfigError as error:
                read = f" on {text_of(shapes[-1])}"
                what = f"{self.name}: block {position + 1} ({block.key}){read}: {error.message}"
                raise BlockError(what, error.hint, position) from None
            shapes.append(shape)
            yield shape, costs
