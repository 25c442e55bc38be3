"""What a pruning gained, as tables for the terminal and as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.files import whole_file
from harness.report import numbers
from harness.report.plots import COLOURS, style

if TYPE_CHECKING:
    from harness.prune.magnitude import Sensitivity
    from harness.prune.outcome import Amounts, LayerChange, Outcome

_GREY = "#9a9a9a"
_SPREAD = 50
"""Weights that are further apart are drawn on a logarithmic scale."""


def outcome_table(found: Outcome) -> RenderableType:
    """Return a model before and after, and each layer."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("")
    for column in ("before", "after", "times less"):
        shown.add_column(column, justify="right", no_wrap=True)
    for label, *cells in _rows(found.before, found.after):
        shown.add_row(label, *cells)
    said = f"{found.model}, pruned by {found.method}" + (f", on {found.device}" if found.device else ", not measured")
    parts: list[RenderableType] = [Text(said, style="bold"), shown, layers_table(found.layers)]
    if found.whole:
        parts.append(Text(f"not known, channels left whole, mult-adds not counted: {', '.join(found.whole)}", style="yellow"))
    return Group(*parts)


def layers_table(layers: Sequence[LayerChange]) -> Table:
    """Return what became of each layer with kernels."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("layer", overflow="fold")
    layers = [one for one in layers if one.weights[0]]
    predicted = any(one.predicted_ms is not None for one in layers)
    for column in ("channels", "weights", "kept", "mult-adds", *(["predicted"] if predicted else [])):
        shown.add_column(column, justify="right", no_wrap=True)
    for one in layers:
        channels, weights = _change(one.channels), _change(one.weights)
        mult_adds = "" if one.mult_adds is None else _change(one.mult_adds)
        kept = numbers.share(one.weights[1] / one.weights[0])
        times = [] if one.predicted_ms is None else [" -> ".join(map(numbers.time, one.predicted_ms))]
        shown.add_row(one.name, channels, weights, kept, mult_adds, *times)
    return shown


def _rows(before: Amounts, after: Amounts) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("accuracy", f"{before.accuracy:.4f}", f"{after.accuracy:.4f}", f"{after.accuracy - before.accuracy:+.4f}")
    ]
    for label, one, other in (
        ("parameters", before.parameters, after.parameters),
        ("weights that are not zero", before.weights, after.weights),
        ("mult-adds", before.mult_adds, after.mult_adds),
    ):
        rows.append((label, numbers.count(one), numbers.count(other), _times(one, other)))
    for label, name in (("dense", "dense_bytes"), ("sparse", "sparse_bytes"), ("compressed", "zlib_bytes")):
        one, other = getattr(before.sizes, name), getattr(after.sizes, name)
        rows.append((f"size, {label}", numbers.size(one), numbers.size(other), _times(one, other)))
    first_ms, second_ms = before.predicted_ms, after.predicted_ms
    without = "no table" if first_ms is None and second_ms is None else "no rows of its widths"
    cells = [without if each is None else numbers.time(each) for each in (first_ms, second_ms)]
    rows.append(("latency, predicted", *cells, "" if first_ms is None or second_ms is None else _times(first_ms, second_ms)))
    if before.measured_ms is not None and after.measured_ms is not None:
        cells = [numbers.time(before.measured_ms) + _within(before), numbers.time(after.measured_ms) + _within(after)]
        rows.append(("latency, measured", *cells, _times(before.measured_ms, after.measured_ms) + _within(before, after)))
    return rows


def _within(*measured: Amounts) -> str:
    """Return how sure a measured latency is, or the ratio of two; nothing where no interval is known."""
    widths = []
    for one in measured:
        if one.measured_ms is None or one.measured_interval_ms is None:
            return ""
        widths.append(numbers.half_width(one.measured_ms, one.measured_interval_ms))
    return f" ±{numbers.share(math.hypot(*widths))}"  # errors of different processes


def _times(before: float, after: float) -> str:
    return f"{before / after:.2f}" if after else ""


def _change(pair: tuple[int, int]) -> str:
    first, second = map(numbers.count, pair)
    return first if pair[0] == pair[1] else f"{first} -> {second}"


def plot_sensitivities(found: Sequence[Sensitivity], path: Path) -> Path:
    """Draw the accuracy against the share of each kernel that is kept (Han et al. 2015, Figure 6), and return the path written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    style(axes)
    for number, one in enumerate(found):
        kept = [100 * share for share in one.shares]
        line = ("-", "--", ":")[number // len(COLOURS) % 3]
        axes.plot(kept, one.accuracies, line, marker="o", ms=3, lw=1.2, color=COLOURS[number % len(COLOURS)], label=one.kernel)
    axes.set_xlabel("weights kept, %")
    axes.set_ylabel("accuracy, without retraining")
    axes.legend(frameon=False, fontsize=7, ncols=1 + len(found) // 16)
    return _written(figure, path)


def plot_layers(found: Outcome, path: Path) -> Path:
    """Draw each layer with kernels before and after: channels, weights, predicted latency where any has one. Return the path written."""
    from matplotlib.figure import Figure

    layers = [one for one in found.layers if one.weights[0]]
    amounts: dict[str, list[tuple[float, float]]] = {
        "channels": [one.channels for one in layers],
        "weights": [one.weights for one in layers],
    }
    if any(one.predicted_ms is not None for one in layers):
        amounts["predicted latency, ms"] = [one.predicted_ms or (0.0, 0.0) for one in layers]
    places = range(len(layers))
    figure = Figure(figsize=(9, 1.4 + 0.24 * len(places)), layout="constrained")
    panels = figure.subplots(1, len(amounts), squeeze=False)[0]
    for axes, (what, pairs) in zip(panels, amounts.items(), strict=True):
        style(axes)
        before, after = zip(*pairs, strict=True)
        axes.barh(places, before, color=_GREY, alpha=0.35, label="before")
        axes.barh(places, after, color=COLOURS[0], height=0.5, label="after")
        axes.set_xscale("log" if what == "weights" and max(before) > _SPREAD * max(1, min(before)) else "linear")
        axes.set_xlabel(what)
        axes.set_yticks(places, [one.name for one in layers] if axes is panels[0] else [""] * len(places), fontsize=7)
        axes.invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=2, loc="outside upper right")
    return _written(figure, path)


def _written(figure: object, path: Path) -> Path:
    with whole_file(path) as draft:
        figure.savefig(draft, format=path.suffix[1:].lower(), dpi=150)  # type: ignore[attr-defined]  # matplotlib is imported late
    return path
