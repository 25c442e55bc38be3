"""A latency table, drawn: its rows by block type and resolution, and where networks spend their time."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.files import whole_file
from harness.report.plots import COLOURS, check_path, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.tables.table import LatencyTable, Row
    from harness.tables.validate import Validation

_OTHER = "#9a9a9a"
_SPREAD = 0.32


def plot_table(table: LatencyTable, path: str | os.PathLike[str]) -> Path:
    """Draw a table and return the path written; the suffix of `path` chooses PNG, SVG or PDF.

    At the left each row's warm latency, by the resolution of its input, types told apart by colour. At the right, where the table is
    calibrated, what the calibration's networks spend at each resolution on average, stage after stage as resolution falls.
    """
    target = Path(path)
    check_path(target)
    figure = draw_table(table)
    with whole_file(target) as draft:
        figure.savefig(draft, format=target.suffix[1:].lower(), dpi=150)
    return target


def plot_validation(found: Validation, path: str | os.PathLike[str]) -> Path:
    """Draw what networks took against what was predicted of them, with the intervals of the predictions, and return the path written."""
    from matplotlib.figure import Figure

    target = Path(path)
    check_path(target)
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.subplots()
    style(axes)
    measured = [one.measured_ms for one in found.networks]
    low, high = min(measured) * 0.9, max(measured) * 1.1
    axes.fill_between([low, high], [low * 0.95, high * 0.95], [low * 1.05, high * 1.05], color=_OTHER, alpha=0.25, lw=0, label="within 5%")
    axes.plot([low, high], [low, high], color=_OTHER, lw=1)
    for one in found.networks:
        if one.prediction.interval_ms is not None:
            axes.plot([one.measured_ms] * 2, one.prediction.interval_ms, color=COLOURS[0], lw=1, alpha=0.6)
    axes.plot(measured, [one.prediction.latency_ms for one in found.networks], "o", color=COLOURS[0], ms=4)
    axes.set_xlabel(f"measured on {found.device}, ms")
    axes.set_ylabel("predicted, ms")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    with whole_file(target) as draft:
        figure.savefig(draft, format=target.suffix[1:].lower(), dpi=150)
    return target


def draw_table(table: LatencyTable) -> Figure:
    """Return the picture that `plot_table` writes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(12, 4.8), layout="constrained")
    colours = _colours(table)
    places = {place: index for index, place in enumerate(sorted({_place(row) for row in table.rows}, key=_area, reverse=True))}
    if table.calibration is None:
        _draw_rows(figure.subplots(), table, colours, places)
    else:
        left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
        _draw_rows(left, table, colours, places)
        _draw_networks(right, table, colours, places)
    figure.axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    figure.axes[0].legend(loc="lower left", fontsize=8, frameon=False, markerscale=1.8)
    return figure


def _draw_rows(axes: Axes, table: LatencyTable, colours: dict[str, str], places: dict[str, int]) -> None:
    style(axes)
    axes.set_yscale("log")
    for number, (kind, colour) in enumerate(colours.items()):
        rows = [row for row in table.rows if _kind(row) == kind and row.warm_ms]
        aside = 0.0 if len(colours) == 1 else _SPREAD * (2 * number / (len(colours) - 1) - 1)
        axes.plot(
            [places[_place(row)] + aside for row in rows],
            [row.warm_ms for row in rows],
            "o",
            ms=2.8,
            mew=0,
            alpha=0.5,
            color=colour,
            label=kind,
        )
    _label(axes, places)
    axes.set_ylabel("latency of a block, ms")
    title = f"{len(table.rows)} blocks on {table.origin.device}"
    axes.set_title(title, loc="left", fontsize=11)


def _draw_networks(axes: Axes, table: LatencyTable, colours: dict[str, str], places: dict[str, int]) -> None:
    style(axes)
    assert table.calibration is not None
    networks = table.calibration.networks
    spent_ms: dict[tuple[str, str], float] = defaultdict(float)
    for network in networks:
        for key in network.keys:
            row = table.by_key[key]
            spent_ms[_kind(row), _place(row)] += table.predictor.block_ms(key) / len(networks)
    below = dict.fromkeys(places, 0.0)
    for kind, colour in colours.items():
        heights = [spent_ms[kind, place] for place in places]
        axes.bar(list(places.values()), heights, bottom=list(below.values()), color=colour, width=0.7, zorder=3)
        below = {place: below[place] + height for place, height in zip(places, heights, strict=True)}
    axes.set_ylim(0, 1.05 * max(below.values()))
    _label(axes, places)
    axes.set_ylabel("ms of a network")
    axes.set_title(f"where {len(networks)} networks spend their time, on average", loc="left", fontsize=11)


def _label(axes: Axes, places: dict[str, int]) -> None:
    axes.set_xticks(list(places.values()), list(places), fontsize=8.5)
    axes.set_xlabel("resolution of a block's input")


def _colours(table: LatencyTable) -> dict[str, str]:
    """Return a colour for each type of block, those with most rows first; types beyond the palette share one."""
    counts: dict[str, int] = defaultdict(int)
    for row in table.rows:
        counts[_kind(row)] += 1
    kinds = sorted(counts, key=lambda kind: -counts[kind])
    return {kind: COLOURS[number] if number < len(COLOURS) else _OTHER for number, kind in enumerate(kinds)}


def _kind(row: Row) -> str:
    return "foreign" if row.block is None else row.block.type


def _place(row: Row) -> str:
    """Return the resolution of a row's first input, "flat" for a dense layer's, "unknown" for a foreign row's."""
    if not row.inputs:
        return "unknown"
    return "x".join(map(str, row.inputs[0][:-1])) or "flat"


def _area(place: str) -> float:
    sides = place.split("x")
    return math.prod(map(int, sides)) if sides[0].isdecimal() else {"flat": 0.5}.get(place, 0.0)
