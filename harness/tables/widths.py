"""The blocks of networks at other widths: the grids between which latency is interpolated, for pruning and searches over channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any

from harness.networks.blocks import Block, block_costs, divisible
from harness.networks.graph import Shape
from harness.networks.network import Network
from harness.tables.listing import Placed
from harness.tables.table import timed


def width_field(block: Block) -> str | None:
    """Return the field that sets the channels of a block's output, None where the input has as many."""
    return next((field.name for field in fields(block) if field.name in ("filters", "units")), None)


def width_of(block: Block) -> int:
    """Return the channels of the output where the block sets them, else 0."""
    name = width_field(block)
    return 0 if name is None else int(getattr(block, name))


def widths_of(block: Block, inputs: tuple[Shape, ...]) -> tuple[int, int]:
    """Return the channels that a block reads and those that it makes, 0 where it does not set them.

    Of a block that reads several others the first are those of its output.
    """
    if len(inputs) == 1:
        return inputs[0][-1], width_of(block)
    return block_costs(block, inputs)[0][-1], 0


Alike = tuple[str, tuple[Shape, ...]]


def alike(block: Block, inputs: tuple[Shape, ...]) -> Alike:
    """Return what blocks have in common that differ in channels alone."""
    return with_width(block, 1).key, tuple(shape[:-1] for shape in inputs)


def with_width(block: Block, width: int) -> Block:
    """Return the block with another number of channels in its output; one that does not set them as it is."""
    name = width_field(block)
    change: dict[str, Any] = {} if name is None else {name: width}
    return replace(block, **change)


def at_widths(networks: Iterable[Network], shares: Sequence[float]) -> tuple[Placed, ...]:
    """Return every block that takes time as it is and at these shares of its channels, in multiples of 8.

    Blocks that differ in channels alone are one grid: each width of an input with each of an output, as far as groups divide them. What a
    network reads and what it tells, such as colours and classes, keep their widths. Blocks that read several others are left out.
    """
    if not shares:
        return ()
    grids: dict[tuple[Block, Shape], tuple[set[int], set[int]]] = {}
    for network in networks:
        last = max((position for position, block in enumerate(network.blocks) if width_field(block)), default=-1)
        for position, block in enumerate(network.blocks):
            inputs = network.inputs_of(position)
            if not timed(block) or len(inputs) != 1:
                continue
            (shape,) = inputs
            ins, outs = grids.setdefault((with_width(block, 1), shape[:-1]), (set(), set()))
            ins.update([shape[-1]] if shape == network.input else _scaled(shape[-1], shares))
            outs.update([width_of(block)] if position == last or not width_field(block) else _scaled(width_of(block), shares))
    return tuple(
        (with_width(block, two), ((*place, one),))
        for (block, place), axes in grids.items()
        for one, two in product(*map(sorted, axes))
        if not (one % (groups := getattr(block, "groups", 1)) or two % groups)
    )


def _scaled(channels: int, shares: Sequence[float]) -> set[int]:
    return {channels, *(divisible(share * channels) for share in shares)}
