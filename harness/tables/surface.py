"""A function of two widths through measured points that never falls as either grows, and that goes up in steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.tables.forms import Floats

Widths = tuple[tuple[int, ...], tuple[int, ...]]
"""The widths of a grid in rising order, of the input and of the output. One that does not vary has one width."""

_ROUNDS = 200
_SETTLED = 1e-6
"""Relative; latencies are measured to 1% at best."""


class Surface:
    """Interpolates a grid of values: bilinearly, since mult-adds grow with either width; along a single axis by PCHIP.

    Where values fall as a width grows, the nearest ones that do not (least squares) take their place. Widths within a step are taken for
    one, the upper end of it.
    """

    def __init__(self, widths: Widths, values: Floats, step: tuple[int, int]) -> None:
        self._step = step
        axes = []
        for side, (axis, size) in enumerate(zip(widths, step, strict=True)):
            ends, starts, counts = np.unique(up(np.array(axis, dtype=np.float64), size), return_index=True, return_counts=True)
            values = np.add.reduceat(values, starts, axis=side) / np.expand_dims(counts, 1 - side)
            axes.append(ends)
        self._axes = axes
        self._smooth = _interpolant(axes[0], axes[1], rising(values))

    def at(self, one: Floats, two: Floats) -> Floats:
        """Return the values at widths of the input and the output, of their shape."""
        return self._smooth(up(one, self._step[0]), up(two, self._step[1]))

    def slopes(self, one: Floats, two: Floats) -> tuple[Floats, Floats]:
        """Return how fast values grow with either width, over a step on either side where the grid reaches; 0 where one does not vary."""
        here = [up(one, self._step[0]), up(two, self._step[1])]
        found = []
        for side, (axis, step) in enumerate(zip(self._axes, self._step, strict=True)):
            below, above = np.maximum(here[side] - step, axis[0]), np.minimum(here[side] + step, axis[-1])
            ends = [self._smooth(*(end if place == side else here[place] for place in (0, 1))) for end in (below, above)]
            found.append((ends[1] - ends[0]) / np.maximum(above - below, 1.0))
        return found[0], found[1]


def up(widths: Floats, step: int) -> Floats:
    """Return widths rounded up to multiples of a step."""
    return np.asarray(np.ceil(widths / step) * step, dtype=np.float64)


def rising(values: Floats) -> Floats:
    """Return the grid nearest to `values` [inputs, outputs] that falls along neither axis.

    By Dykstra's alternating projections (Dykstra and Robertson 1982), each an isotonic regression along one axis.
    """
    from scipy.optimize import isotonic_regression

    def along(axis: int, grid: Floats) -> Floats:
        return np.apply_along_axis(lambda line: isotonic_regression(line).x, axis, grid)

    if (np.diff(values, axis=0) >= 0).all() and (np.diff(values, axis=1) >= 0).all():
        return values
    found, first, second = values, np.zeros_like(values), np.zeros_like(values)
    for _ in range(_ROUNDS):
        rows = along(1, found + first)
        first = found + first - rows
        columns = along(0, rows + second)
        second = rows + second - columns
        settled = np.allclose(columns, found, rtol=_SETTLED, atol=0)
        found = columns
        if settled:
            break
    return np.asarray(np.maximum.accumulate(np.maximum.accumulate(found, axis=0), axis=1))


def _interpolant(ins: Floats, outs: Floats, values: Floats) -> Callable[[Floats, Floats], Floats]:
    from scipy.interpolate import PchipInterpolator, RegularGridInterpolator

    if len(ins) == 1 and len(outs) == 1:
        return lambda one, _: np.full(one.shape, values[0, 0])
    if len(outs) == 1:
        over_ins = PchipInterpolator(ins, values[:, 0])
        return lambda one, _: np.asarray(over_ins(one), dtype=np.float64)
    if len(ins) == 1:
        over_outs = PchipInterpolator(outs, values[0])
        return lambda _, two: np.asarray(over_outs(two), dtype=np.float64)
    over_both = RegularGridInterpolator((ins, outs), values)
    return lambda one, two: np.asarray(over_both(np.stack([one, two], axis=-1)), dtype=np.float64).reshape(one.shape)
