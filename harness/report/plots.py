"""The samples of a benchmark, drawn: over time, and their distribution."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError
from harness.files import check_writable, whole_file
from harness.report import numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from harness.measure.result import Result

_SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which colour-blind people tell apart; without black and yellow, which the latency line and white paper claim.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_DISTURBED = "#9a9a9a"
_INK = "#222222"
_ROW_INCHES = 3.1
_WIDTH_INCHES = 11.0
_DPI = 150


def check_path(path: Path) -> None:
    """Raise ConfigError where no plot can be written at `path`: another suffix than .png, .svg, .pdf, or no folder to write in."""
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"{path}: a plot is a .png, .svg or .pdf file", "Give the file one of these suffixes.")
    check_writable(path)


def plot_samples(results: Sequence[Result], frames: Sequence[pd.DataFrame], path: str | os.PathLike[str]) -> Path:
    """Draw the samples of each result, from its frame of `harness.samples`, and return the path written.

    A model has a row: at the left its samples over time, at the right their distribution. Processes are told apart by colour;
    disturbed samples are hollow and grey; the line and the band are the latency and its interval. The suffix of
    `path` chooses PNG, SVG or PDF.
    """
    from matplotlib.figure import Figure

    target = Path(path)
    check_path(target)
    if not results or len(results) != len(frames):
        raise ConfigError(f"{len(results)} results and {len(frames)} frames of samples cannot be drawn", "Give one frame for each result.")
    figure = Figure(figsize=(_WIDTH_INCHES, _ROW_INCHES * len(results) + 0.3), layout="constrained")
    grid = figure.subplots(len(results), 2, squeeze=False, sharey="row", width_ratios=(3.4, 1))
    for (left, right), result, frame in zip(grid, results, frames, strict=True):
        view = _View.of(result, frame)
        _draw_time(left, result, view)
        _draw_distribution(right, result, view)
    with whole_file(target) as draft:
        figure.savefig(draft, format=target.suffix[1:].lower(), dpi=_DPI)
    return target


@dataclass(frozen=True)
class _View:
    """The candidate's samples as arrays, in the order they were taken, and the limits of the latency axis."""

    seconds: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    disturbed: NDArray[np.bool_]
    process: NDArray[np.int64]
    low_ms: float
    high_ms: float

    @staticmethod
    def of(result: Result, frame: pd.DataFrame) -> _View:
        """Return the view of one result's samples."""
        import numpy as np

        rows = frame[frame["role"] == "candidate"]
        if rows.empty:
            raise ConfigError(f"{result.model} has no samples to draw")
        latency_ms = rows["latency_ns"].to_numpy(dtype=np.float64) / 1e6
        disturbed = rows["disturbed"].to_numpy(dtype=np.bool_)
        clean = latency_ms if disturbed.all() else latency_ms[~disturbed]
        # A long tail would flatten all else: the axis spans what all but 1% of the clean samples do, no further than six times
        # the width of their bulk from it, and the estimate.
        least, p10, p90, most = np.quantile(clean, (0.002, 0.1, 0.9, 0.99))
        bulk = 6 * (p90 - p10)
        bounds = [max(least, p10 - bulk), min(most, p90 + bulk), result.latency_ms, *(result.interval_ms or ())]
        room = max(max(bounds) - min(bounds), 0.01 * result.latency_ms) * 0.25
        process, seconds = _clock(rows)
        return _View(seconds, latency_ms, disturbed, process, max(min(bounds) - room, 0.0), max(bounds) + 1.6 * room)

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """Which samples the latency axis leaves out."""
        return (self.latency_ms > self.high_ms) | (self.latency_ms < self.low_ms)


def _clock(rows: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each sample's process, counted from 0, and its time in seconds with the breaks between processes cut to a sliver.

    Processes may lie hours and reboots apart, and a device's clock starts anew with each boot: their own time alone compares.
    """
    import numpy as np

    process = np.unique(rows["repetition"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    # start_ns is that of the chunk: within it a sample starts where the ones before it end.
    before_ns = rows.groupby(["repetition", "chunk"])["wall_ns"].cumsum() - rows["wall_ns"]
    start = (rows["start_ns"] + before_ns).to_numpy(dtype=np.float64) / 1e9
    count = int(process.max()) + 1
    first = np.array([start[process == index].min() for index in range(count)])
    length = np.array([start[process == index].max() for index in range(count)]) - first
    sliver = 0.12 * float(length.mean())
    offset = np.concatenate(([0.0], np.cumsum(length + sliver)[:-1]))
    return process, start - first[process] + offset[process]


def _draw_time(axes: Axes, result: Result, view: _View) -> None:
    style(axes)
    _draw_estimate(axes, result)
    # Thousands of markers would make a vector file of many megabytes: they are drawn as pixels in it.
    size = 3.4 if view.latency_ms.size < 3_000 else 2.2
    alpha = 0.75 if view.latency_ms.size < 3_000 else 0.45
    for index in range(int(view.process.max()) + 1):
        mine = (view.process == index) & ~view.beyond
        filled: dict[str, Any] = {"ms": size, "mew": 0, "color": COLOURS[index % len(COLOURS)], "alpha": alpha, "zorder": 3}
        hollow: dict[str, Any] = {"ms": size + 0.6, "mew": 0.8, "mec": _DISTURBED, "mfc": "none", "zorder": 2}
        for chosen, look in ((mine & ~view.disturbed, filled), (mine & view.disturbed, hollow)):
            axes.plot(view.seconds[chosen], view.latency_ms[chosen], "o", rasterized=True, **look)
    _mark_beyond(axes, view)
    axes.set_ylim(view.low_ms, view.high_ms)
    axes.margins(x=0.015)
    axes.set_ylabel("latency, ms")
    axes.set_xlabel("time in the processes, s (breaks between them cut short)")
    axes.set_title(result.model, loc="left", fontweight="bold", fontsize=11, color=_INK, pad=18)
    axes.text(0, 1.025, _subtitle(result), transform=axes.transAxes, fontsize=8.5, color="#555555", va="bottom")


def _subtitle(result: Result) -> str:
    latency = numbers.time(result.latency_ms)
    if result.interval_ms is not None:
        latency += f" ({numbers.times(*result.interval_ms)})"
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    settings = [result.device, result.precision, threads, *(["cold"] if result.cold else []), result.verdict.replace("_", " ")]
    return f"{latency} on {', '.join(settings)}"


def _mark_beyond(axes: Axes, view: _View) -> None:
    """Mark the samples beyond the axis at its edge, and say how many and how far."""
    above, below = view.latency_ms > view.high_ms, view.latency_ms < view.low_ms
    for beyond, edge, marker in ((above, 1.0, "^"), (below, 0.0, "v")):
        for flagged, colour in ((False, _INK), (True, _DISTURBED)):
            here = view.seconds[beyond & (view.disturbed == flagged)]
            if here.size:  # an empty line that is not clipped would have the layout make room for the figure's corner
                at_edge = axes.get_xaxis_transform()
                axes.plot(here, [edge] * here.size, marker, ms=3.2, mew=0, color=colour, transform=at_edge, clip_on=False, zorder=4)
    parts = []
    if above.any():
        parts.append(f"{above.sum()} of {view.latency_ms.size} samples above the axis, up to {numbers.time(float(view.latency_ms.max()))}")
    if below.any():
        parts.append(f"{below.sum()} below it, down to {numbers.time(float(view.latency_ms.min()))}")
    if parts:
        backdrop = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.5}
        axes.text(
            0.995,
            0.97,
            "; ".join(parts),
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=8,
            color="#555555",
            bbox=backdrop,
            zorder=5,
        )


def _draw_distribution(axes: Axes, result: Result, view: _View) -> None:
    import numpy as np

    style(axes)
    _draw_estimate(axes, result)
    inside = ~view.beyond
    groups = [view.latency_ms[inside & ~view.disturbed & (view.process == index)] for index in range(int(view.process.max()) + 1)]
    groups.append(view.latency_ms[inside & view.disturbed])
    colours = [*(COLOURS[index % len(COLOURS)] for index in range(len(groups) - 1)), _DISTURBED]
    count = min(60, 15 + int(view.latency_ms.size**0.5))
    bins = np.linspace(view.low_ms, view.high_ms, count + 1).tolist()
    axes.hist(groups, bins=bins, orientation="horizontal", stacked=True, color=colours, alpha=0.85, linewidth=0, zorder=3)
    axes.tick_params(labelleft=False)
    axes.set_xlabel("samples")
    processes = len(groups) - 1
    noun = "process" if processes == 1 else "processes"
    axes.set_title(
        f"{processes} {noun}, {numbers.share(result.disturbed_share)} disturbed (grey)", loc="left", fontsize=8.5, color="#555555", pad=5
    )


def _draw_estimate(axes: Axes, result: Result) -> None:
    if result.interval_ms is not None:
        axes.axhspan(*result.interval_ms, color=_INK, alpha=0.12, linewidth=0, zorder=1)
    axes.axhline(result.latency_ms, color=_INK, linewidth=1.1, zorder=6)


def style(axes: Axes) -> None:
    """Give axes the look of all plots: a light grid, no box."""
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b0b0b0")
    axes.tick_params(color="#b0b0b0", labelcolor="#444444", labelsize=8.5)
    axes.xaxis.label.set(color="#444444", fontsize=8.5)
    axes.yaxis.label.set(color="#444444", fontsize=8.5)
    axes.ticklabel_format(useOffset=False, style="plain", axis="y")
