"""Search spaces as data: which choices there are, and the network that each combination of them makes."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from harness.errors import ConfigError
from harness.networks.blocks import Block, block_costs, block_key
from harness.networks.graph import Costs, Shape
from harness.networks.network import Network, Training
from harness.networks.tables import block_of, is_count
from harness.networks.wiring import Gather
from harness.tomlfile import FieldError

Tokens = tuple[int, ...]
"""One number per position of a space: which of its options is chosen. What is chosen for layers that are not there is 0."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Choice:
    """A field of a stage's blocks and the values that it may have. Those of `op` are fields too, as pairs: a block's type and more."""

    name: str
    options: tuple[Any, ...]


@dataclass(frozen=True)
class Position:
    """One token: where it stands ("stage 2", "stage 2 layer 1"), what it chooses, among how many options."""

    where: str
    name: str
    options: int


@dataclass(frozen=True, eq=False)
class Stage:
    """Layers of one kind. Its choices hold for all its layers (MnasNet) or, where `per_layer`, for each (OFA).

    The first layer has the `stride`. Where `skips`, each layer chooses which of the earlier ones it reads (Zoph and Le).
    """

    layers: tuple[int, ...]
    stride: int
    choices: tuple[Choice, ...]
    fixed: tuple[tuple[str, Any], ...]
    per_layer: bool = False
    skips: bool = False

    @property
    def most(self) -> int:
        """The largest number of layers."""
        return max(self.layers)

    @cached_property
    def head(self) -> int:
        """How many tokens come before those of the choices: one where there is a choice of layers."""
        return int(len(self.layers) > 1)

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """What its tokens choose, in their order; those of the first layers come first."""
        found = [Position("", "layers", len(self.layers))] * self.head
        for layer in range(self.most if self.per_layer else 1):
            where = f" layer {layer + 1}" if self.per_layer else ""
            found += [Position(where, choice.name, len(choice.options)) for choice in self.choices_of(layer)]
        return tuple(found)

    def choices_of(self, layer: int) -> tuple[Choice, ...]:
        """Return what is chosen for one layer, 0 the first; with skips, also whether it reads each of the earlier ones."""
        return self.choices + tuple(Choice(f"skip {earlier}", (False, True)) for earlier in range(layer if self.skips else 0))

    def count(self, part: Sequence[int]) -> int:
        """Return how many layers there are by a stage's tokens."""
        return self.layers[part[0]] if self.head else self.layers[0]

    def active(self, part: Sequence[int]) -> int:
        """Return how many of a stage's tokens are of layers that are there: the first ones."""
        if not self.per_layer:
            return len(self.positions)
        return self.head + sum(len(self.choices_of(layer)) for layer in range(self.count(part)))

    def combinations(self, layers: int) -> int:
        """Return how many candidates there are with so many layers."""
        return math.prod(len(choice.options) for layer in range(layers if self.per_layer else 1) for choice in self.choices_of(layer))

    def sample(self, generator: random.Random) -> Tokens:
        """Return a candidate of the stage, each with the same probability."""
        draw = generator.random  # times a small number and rounded down: as uniform as randrange, and several times as fast
        part = [bisect(self._shares, draw())] * self.head
        active = self.active(part)
        part += [int(draw() * position.options) for position in self.positions[self.head : active]]
        return tuple(part + [0] * (len(self.positions) - active))

    @cached_property
    def _shares(self) -> tuple[float, ...]:
        """The share of candidates that have at most so many layers, but for the last number of layers, whose share is all."""
        counts = [self.combinations(layers) for layers in self.layers]
        return tuple(sum(counts[: index + 1]) / sum(counts) for index in range(len(counts) - 1))

    @lru_cache(maxsize=100_000)  # noqa: B019 - spaces are few and live as long as the process
    def blocks(self, part: Tokens, start: int) -> tuple[Block, ...]:
        """Return the blocks that a stage's tokens make. With skips the first one comes behind `start` blocks; without, `start` is 0."""
        values = iter(part[self.head :])
        shared = None if self.per_layer else _chosen(self.choices, values)
        blocks: list[Block] = []
        used: set[int] = set()
        for layer in range(self.count(part)):
            table = dict(self.fixed) | (shared if shared is not None else _chosen(self.choices_of(layer), values))
            if self.skips:
                reads = [start + 1 + earlier for earlier in range(layer) if table.pop(f"skip {earlier}")]
                used.update(reads)
                table["inputs"] = reads or [start]  # Zoph and Le: what reads no layer reads the image
            blocks.append(layer_of(table, self.stride if layer == 0 else 1))
        if self.skips:
            blocks.append(Gather(tuple(one for one in range(start + 1, start + 1 + len(blocks)) if one not in used)))
        return tuple(blocks)

    @lru_cache(maxsize=100_000)  # noqa: B019 - as above
    def costs(self, part: Tokens, shape: Shape) -> tuple[Shape, Costs]:
        """Return the shape after a stage without skips, and what its blocks cost, on an input of this shape."""
        return chain(self.blocks(part, 0), shape)


@dataclass(frozen=True)
class Space:
    """A stem, stages of choices, and a head. A candidate is one token per position; see `positions`."""

    name: str
    title: str
    input: Shape
    stem: tuple[Block, ...]
    stages: tuple[Stage, ...]
    head: tuple[Block, ...]
    training: Training

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """What each token of a candidate chooses, in their order."""
        return tuple(
            Position(f"stage {number + 1}{position.where}", position.name, position.options)
            for number, stage in enumerate(self.stages)
            for position in stage.positions
        )

    @cached_property
    def skips(self) -> bool:
        """Whether a layer's tokens alone do not tell what it reads."""
        return any(stage.skips for stage in self.stages)

    @cached_property
    def size(self) -> int:
        """The number of different candidates."""
        return math.prod(sum(stage.combinations(layers) for layers in stage.layers) for stage in self.stages)

    def sample(self, generator: random.Random) -> Tokens:
        """Return a candidate, each with the same probability."""
        return tuple(itertools.chain.from_iterable(stage.sample(generator) for stage in self.stages))

    def mutate(self, tokens: Sequence[int], generator: random.Random) -> Tokens:
        """Return a candidate that differs in one choice; layers that come in so choose anew. Raises ConfigError where there is but one."""
        parts = list(self.parts(self.checked(tokens)))
        free = [
            (number, index)
            for number, stage in enumerate(self.stages)
            for index in range(stage.active(parts[number]))
            if stage.positions[index].options > 1
        ]
        if not free:
            raise ConfigError(f"{self.name} has one candidate alone", "give a choice more than one option")
        number, index = generator.choice(free)
        stage, part = self.stages[number], list(parts[number])
        before = stage.active(part)
        part[index] = generator.choice([option for option in range(stage.positions[index].options) if option != part[index]])
        after = stage.active(part)
        part[before:after] = [generator.randrange(position.options) for position in stage.positions[before:after]]
        part[after:] = [0] * (len(part) - after)
        parts[number] = tuple(part)
        return tuple(itertools.chain.from_iterable(parts))

    def encode(self, tokens: Sequence[int]) -> str:
        """Return a candidate as text: a character per token, stages apart by hyphens."""
        return "-".join("".join(_DIGITS[token] for token in part) for part in self.parts(self.checked(tokens)))

    def decode(self, text: str) -> Tokens:
        """Return the candidate of `encode`; raises ConfigError for text of another space."""
        wanted = [len(stage.positions) for stage in self.stages]
        if [len(group) for group in text.split("-")] != wanted or not set(text) <= {*_DIGITS, "-"}:
            shape = "-".join("x" * count for count in wanted)
            raise ConfigError(f"{text!r} is no candidate of {self.name}", f"one looks like {shape}, a digit or small letter per choice")
        return self.checked([_DIGITS.index(character) for character in text if character != "-"])

    def checked(self, tokens: Sequence[int]) -> Tokens:
        """Return the tokens where they are a candidate of this space; raises ConfigError that names the first which is not."""
        if len(tokens) != len(self.positions):
            raise ConfigError(f"{len(tokens)} tokens are no candidate of {self.name}", f"it has {len(self.positions)} positions")
        for token, position in zip(tokens, self.positions, strict=True):
            if not 0 <= token < position.options:
                what = f"{position.where}: {position.name} is option {token}"
                raise ConfigError(f"{what}, and {self.name} has {position.options}", f"count from 0 to {position.options - 1}")
        found = tuple(int(token) for token in tokens)
        if any(any(part[stage.active(part) :]) for stage, part in zip(self.stages, self.parts(found), strict=True)):
            raise ConfigError(f"{list(found)} chooses for layers that it does not have", "such tokens are 0")
        return found

    def network(self, tokens: Sequence[int]) -> Network:
        """Return the network of a candidate, called space:SPACE/STRING."""
        blocks = list(self.stem)
        for stage, part in zip(self.stages, self.parts(self.checked(tokens)), strict=True):
            blocks += stage.blocks(part, len(blocks) if stage.skips else 0)
        return Network(f"space:{self.name}/{self.encode(tokens)}", self.input, (*blocks, *self.head), self.training)

    def costs(self, tokens: Tokens) -> Costs:
        """Return what `network(tokens).costs` is, sooner: what a stage costs is remembered."""
        if self.skips:
            return self.network(tokens).costs
        shape, total = self._stem
        for stage, part in zip(self.stages, self.parts(tokens), strict=True):
            shape, costs = stage.costs(part, shape)
            total += costs
        if shape not in self._heads:
            self._heads[shape] = chain(self.head, shape)[1]
        return total + self._heads[shape]

    @cached_property
    def _stem(self) -> tuple[Shape, Costs]:
        return chain(self.stem, self.input)

    @cached_property
    def _heads(self) -> dict[Shape, Costs]:
        return {}

    def parts(self, tokens: Tokens) -> Iterator[Tokens]:
        """Yield the tokens of each stage."""
        start = 0
        for stage in self.stages:
            end = start + len(stage.positions)
            yield tokens[start:end]
            start = end


def layer_of(table: dict[str, Any], stride: int) -> Block:
    """Return the block of a layer's chosen values: `op` gives its type, a kernel or stride may come as its height and its width."""
    op = dict(table.pop("op", ()))
    for name in ("kernel", "stride"):
        keys = [f"{name}_{side}" for side in ("height", "width")]
        if sides := {key: table.pop(key) for key in keys if key in table}:
            for key, value in sides.items():
                if not is_count(value):
                    raise FieldError(f"{key} is {value!r}", "write a whole number from 1 on", key)
            table[name] = [sides.get(key, 1) for key in keys]
    return block_of(op | table | ({"stride": stride} if stride > 1 else {}))


def chain(blocks: Sequence[Block], shape: Shape) -> tuple[Shape, Costs]:
    """Return the shape after blocks that each read the one before, and what they cost."""
    total = Costs()
    for block in blocks:
        shape, costs = block_costs(block, (shape,))
        total += costs
    return shape, total


def unique_blocks(space: Space) -> Iterator[tuple[Block, tuple[Shape, ...]]]:
    """Yield every block that a candidate can contain, with the shapes of its inputs, each once.

    Of a space with skips these are the blocks of the stem and the convolutions of its layers, on all that each may read: more than can
    be listed, so take as many as are wanted. What gathers the outputs that no layer reads, and the head behind it, are left out.
    """
    seen: set[str] = set()
    for block, shapes in _occurring(space):
        key = block_key(block, shapes)
        if key not in seen:
            seen.add(key)
            yield block, shapes


def _occurring(space: Space) -> Iterator[tuple[Block, tuple[Shape, ...]]]:
    shapes = {space.input}
    for block in space.stem:
        yield from ((block, (shape,)) for shape in sorted(shapes))
        shapes = {block_costs(block, (shape,))[0] for shape in shapes}
    for stage in space.stages:
        if stage.skips:
            yield from _with_skips(stage, min(shapes))
            return
        after: set[Shape] = set()
        for part in _telling(stage):
            for shape in sorted(shapes):
                made = shape
                for block in stage.blocks(part, 0):
                    yield block, (made,)
                    made = block_costs(block, (made,))[0]
                after.add(made)
        shapes = after
    for block in space.head:
        yield from ((block, (shape,)) for shape in sorted(shapes))
        shapes = {block_costs(block, (shape,))[0] for shape in shapes}


def _telling(stage: Stage) -> Iterator[Tokens]:
    """Yield candidates of a stage among which every block that it can contain occurs, and every shape that it can end with."""
    options = list(itertools.product(*(range(len(choice.options)) for choice in stage.choices)))
    for index, layers in enumerate(stage.layers):
        head = (index,) * stage.head
        if not stage.per_layer:
            yield from (head + chosen for chosen in options)
            continue
        # A later layer sees of those before it only the shape: any choice of two neighbours shows all there is.
        idle = (0,) * (len(stage.choices) * (stage.most - layers))
        for first, rest in itertools.product(options, options if layers > 1 else options[:1]):
            yield head + first + rest * (layers - 1) + idle


def _with_skips(stage: Stage, image: Shape) -> Iterator[tuple[Block, tuple[Shape, ...]]]:
    """Yield the convolutions of a stage with skips: each choice of a layer on each set of shapes that it can read."""
    own = [
        dict(zip((choice.name for choice in stage.choices), values, strict=True))
        for values in itertools.product(*(choice.options for choice in stage.choices))
    ]
    outputs: list[list[Shape]] = []
    for layer in range(stage.most):
        read = itertools.chain(
            [(image,)],
            itertools.chain.from_iterable(
                itertools.product(*(outputs[earlier] for earlier in chosen))
                for count in range(1, layer + 1)
                for chosen in itertools.combinations(range(layer), count)
            ),
        )
        made: set[Shape] = set()
        for shapes in read:
            for values in own:
                table = dict(stage.fixed) | values | {"inputs": list(range(len(shapes)))}
                block = layer_of(table, stage.stride if layer == 0 else 1)
                yield block, shapes
                made.add(block_costs(block, shapes)[0])
        outputs.append(sorted(made))


def _chosen(choices: Sequence[Choice], values: Iterator[int]) -> dict[str, Any]:
    return {choice.name: choice.options[value] for choice, value in zip(choices, values, strict=False)}
