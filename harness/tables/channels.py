"""The latency of a block between the widths that were measured: for pruning, and for searches over the number of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks.blocks import Block
from harness.networks.graph import Shape, text_of
from harness.tables.forms import Floats
from harness.tables.held_out import judge
from harness.tables.predict import Predictions
from harness.tables.surface import Surface, Widths
from harness.tables.table import HeldOut, LatencyTable
from harness.tables.widths import alike, widths_of

STEPS = (1, 2, 4, 8, 16)
"""Steps that are looked for: XNNPACK's kernels work on tiles of 4, 8 or 16 channels; one that is part full takes as long as a full one."""

_CLEARLY = 0.9


class ChannelLatency:
    """What a block adds to a network as a function of its input and output channels. Nothing else of it changes.

    Never less for more channels. `ranges` are the least and the most channels that were measured, of the input and of the output; `step`
    those at which latency goes up, for either. `held_out` says how far each measured width inside the range is from what all lines of the
    grid but its own say of it, None where none lies inside.
    """

    def __init__(self, what: str, widths: Widths, measured_ms: Floats, step: tuple[int, int] | None = None) -> None:
        """Take what is measured at each pair of widths, latencies [inputs, outputs] in ms; without a step it is found in them."""
        self._what = what
        self.ranges = tuple((axis[0], axis[-1]) for axis in widths)
        self.step = step or _step_of(widths, measured_ms)
        self._surface = Surface(widths, measured_ms, self.step)
        self.held_out = held_out(widths, measured_ms, self.step)

    @classmethod
    def of(cls, table: LatencyTable, block: Block, inputs: tuple[Shape, ...], step: tuple[int, int] | None = None) -> ChannelLatency:
        """Return it from the rows of a table that differ from a block in channels alone.

        They must be a grid: each width of the input measured with each of the output. A block that reads several others is followed along
        the channels of its output, which take the place of the input's. Raises ConfigError where rows are no grid, or fewer than two.
        """
        what, found = _measured(table, block, inputs)
        ins, outs = (sorted({pair[side] for pair in found}) for side in (0, 1))
        if len(found) < 2:
            raise ConfigError(
                f"{what}: {len(found)} widths are measured, between which there is nothing",
                "measure it at more widths: harness table build --network NETWORK --widths 0.5,0.75,1",
            )
        if holes := [(one, two) for one in ins for two in outs if (one, two) not in found]:
            shown = ", ".join(f"{one} to {two}" for one, two in holes[:3]) + (f" and {len(holes) - 3} more" if len(holes) > 3 else "")
            raise ConfigError(f"{what}: its widths are no grid, since channels {shown} are not measured", "measure those too")
        return cls(what, (tuple(ins), tuple(outs)), np.array([[found[one, two] for two in outs] for one in ins]), step)

    @classmethod
    def patches(cls, table: LatencyTable, block: Block, inputs: tuple[Shape, ...]) -> tuple[ChannelLatency, ...]:
        """Return it for each grid that can be found in rows that differ from a block in channels alone, the largest one first.

        Layers of a network that are alike but for their channels may have been measured at grids of their own. One width by itself is a
        grid, beside which nothing is known. Without any rows there are none.
        """
        what, found = _measured(table, block, inputs)
        ins_of = {two: frozenset(one for one, other in found if other == two) for two in {pair[1] for pair in found}}
        both = {one & other for one in ins_of.values() for other in ins_of.values()} - {frozenset()}
        grids = {(tuple(sorted(ins)), tuple(sorted(two for two, known in ins_of.items() if known >= ins))) for ins in both}
        largest = sorted(grids, key=lambda grid: (-len(grid[0]) * len(grid[1]), grid))
        return tuple(cls(what, (ins, outs), np.array([[found[one, two] for two in outs] for one in ins])) for ins, outs in largest)

    def covers(self, channels_in: int, channels_out: int = 0) -> bool:
        """Return whether widths lie inside of what was measured."""
        return all(low <= given <= high for given, (low, high) in zip((channels_in, channels_out), self.ranges, strict=True))

    def latency_ms(self, channels_in: npt.ArrayLike, channels_out: npt.ArrayLike = 0) -> Floats:
        """Return latencies in ms, of the shape that the channels have together; raises ConfigError outside of what was measured.

        A block that has as many channels out as in takes no `channels_out`.
        """
        return self._surface.at(*self._checked(channels_in, channels_out))

    def gradient(self, channels_in: npt.ArrayLike, channels_out: npt.ArrayLike = 0) -> tuple[Floats, Floats]:
        """Return what an input channel and an output channel more would add, in ms each: the slope over a step on either side.

        Raises ConfigError as `latency_ms` does.
        """
        return self._surface.slopes(*self._checked(channels_in, channels_out))

    def _checked(self, *channels: npt.ArrayLike) -> tuple[Floats, Floats]:
        one, two = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in channels))
        for given, (low, high), side in zip((one, two), self.ranges, ("input", "output"), strict=True):
            outside = given[~((given >= low) & (given <= high))]
            if outside.size:
                what = f"{self._what}: {outside.flat[0]:g} {side} channels are outside of what was measured, {low} to {high}"
                raise ConfigError(what, "nothing is guessed there: measure the block at that width")
        return one, two


def _measured(table: LatencyTable, block: Block, inputs: tuple[Shape, ...]) -> tuple[str, dict[tuple[int, int], float]]:
    """Return what a block is but for its channels, and what rows of such add to a network, in ms, by their channels in and out.

    Of blocks that read several others and make as many channels of other parts it is the mean.
    """
    wanted = alike(block, inputs)
    each: dict[tuple[int, int], list[float]] = {}
    for row in table.rows:
        if row.block is not None and table.predictor.row(row.key) is not None and alike(row.block, row.inputs) == wanted:
            each.setdefault(widths_of(row.block, row.inputs), []).append(table.predictor.block_ms(row.key))
    found = {widths: math.fsum(latencies_ms) / len(latencies_ms) for widths, latencies_ms in each.items()}
    return f"{block.key} on {'+'.join(text_of(shape[:-1]) or 'a flat input' for shape in inputs)}", found


def held_out(widths: Widths, measured_ms: Floats, step: tuple[int, int]) -> HeldOut | None:
    """Return how far widths inside a grid are from what is said of them without the lines that they stand on; None for none inside."""
    inside = [range(1, len(axis) - 1) if len(axis) > 1 else range(1) for axis in widths]
    predicted, measured = [], []
    for first in inside[0]:
        for second in inside[1]:
            if not measured_ms[first, second]:
                continue  # of nothing there is no share to be off by
            kept = [
                [index for index in range(len(axis)) if len(axis) == 1 or index != left]
                for axis, left in zip(widths, (first, second), strict=True)
            ]
            rest = Surface(_chosen(widths, kept), measured_ms[np.ix_(*kept)], step)
            predicted.append(float(rest.at(np.array(float(widths[0][first])), np.array(float(widths[1][second])))))
            measured.append(measured_ms[first, second])
    return judge(Predictions(np.array(predicted), None), measured) if measured else None


def _chosen(widths: Widths, kept: Sequence[Sequence[int]]) -> Widths:
    one, two = (tuple(axis[index] for index in indices) for axis, indices in zip(widths, kept, strict=True))
    return one, two


def _step_of(widths: Widths, measured_ms: Floats) -> tuple[int, int]:
    """Return the steps that predict widths left out clearly better than none, first for the input, then for the output; else 1."""
    found = [1, 1]
    for side in (0, 1):
        errors = {}
        for step in STEPS:
            tried = (step, 1) if side == 0 else (found[0], step)
            told = held_out(widths, measured_ms, tried)
            errors[step] = math.inf if told is None else told.mape
        best = min(STEPS, key=lambda step: errors[step])
        found[side] = best if errors[best] < _CLEARLY * errors[1] else 1
    return found[0], found[1]
