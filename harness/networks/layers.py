"""Blocks of one operation that networks made of single layers need besides convolutions, and the one that says what a layer reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from harness.networks.blocks import Block
from harness.networks.graph import Activation, Add, Crop, Graph, Multiply, Pad
from harness.networks.wiring import earlier
from harness.tomlfile import FieldError


@dataclass(frozen=True)
class Reading(Block):
    """A block that reads these earlier outputs instead of the one before; `inputs` as of SkipConv. Its key is that of the block."""

    type: ClassVar[str] = "reading"
    block: Block
    inputs: tuple[int, ...] = field(metadata={"in_key": False})

    def __post_init__(self) -> None:
        if type(self.block).reads is not Block.reads:
            raise FieldError(f"a {self.block.type} says itself what it reads", "write it without the reading around it", "block")

    @property
    def key(self) -> str:
        """The key of its block."""
        return self.block.key

    def reads(self, position: int) -> tuple[int, ...]:
        """Return its inputs."""
        return earlier(self.inputs, position)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the operations of its block."""
        return self.block.expand(graph, *inputs)


def without_place(block: Block) -> Block:
    """Return what a block is, wherever it reads."""
    return block.block if isinstance(block, Reading) else block


@dataclass(frozen=True)
class Sum(Block):
    """The sum of two outputs of one shape, and its activation."""

    type: ClassVar[str] = "sum"
    activation: Activation = "linear"

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the addition."""
        return graph.add(Add(self.activation), *inputs)


@dataclass(frozen=True)
class Scaled(Block):
    """A feature map, each channel scaled by the second input, which has one place."""

    type: ClassVar[str] = "scaled"

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the multiplication."""
        return graph.add(Multiply(), *inputs)


@dataclass(frozen=True)
class Padded(Block):
    """Zeros around a feature map: rows above and below, columns left and right."""

    type: ClassVar[str] = "padded"
    rows: tuple[int, ...] = field(default=(0, 0))
    columns: tuple[int, ...] = field(default=(0, 0))

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            if len(margins := getattr(self, name)) != 2 or min(margins) < 0:
                raise FieldError(f"{name} of padded are {list(margins)}", "expected: two whole numbers, before and after", name)

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the padding."""
        (above, below), (left, right) = self.rows, self.columns
        return graph.add(Pad((above, below), (left, right)), *inputs)


@dataclass(frozen=True)
class Cropped(Block):
    """A feature map without its first rows and columns."""

    type: ClassVar[str] = "cropped"
    rows: int = 1
    columns: int = 1

    def expand(self, graph: Graph, *inputs: int) -> int:
        """Add the crop."""
        return graph.add(Crop(self.rows, self.columns), *inputs)
