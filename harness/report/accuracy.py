"""Accuracy against latency, drawn: as measured on a device, and as published for the Pixel 1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError
from harness.files import whole_file
from harness.report.plots import check_path, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.measure.zoo import Measured
    from harness.networks.listing import Listed

DATASET = "ImageNet"
_MEASURED, _PUBLISHED = "#0072B2", "#D55E00"


def check_drawable(networks: Sequence[Listed]) -> None:
    """Raise ConfigError where none of the networks, once measured, could be drawn."""
    if not any(one.parameters and one.published.top_1 and one.published.dataset == DATASET for one in networks):
        raise ConfigError(
            f"none of these networks has a published accuracy on {DATASET}: there would be nothing to draw",
            "leave --plot out, or add others",
        )


def plot_accuracy(zoo: Sequence[Measured], device: str, path: str | os.PathLike[str]) -> Path:
    """Draw the published ImageNet top-1 accuracy of networks against their latency, and return the path written.

    At the left the latency measured on the device, with its interval; at the right the published one of the Pixel 1. The suffix of
    `path` chooses PNG, SVG or PDF. Raises ConfigError where none of what was measured has a published accuracy.
    """
    target = Path(path)
    check_path(target)
    figure = draw_accuracy(zoo, device)
    with whole_file(target) as draft:
        figure.savefig(draft, format=target.suffix[1:].lower(), dpi=150, bbox_inches="tight")
    return target


def draw_accuracy(zoo: Sequence[Measured], device: str) -> Figure:
    """Return the picture that `plot_accuracy` writes; raises ConfigError as it does."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    from harness.measure.result import Result

    known = [(one.network.name, one.network.published.top_1, one) for one in zoo if one.network.published.dataset == DATASET]
    shown = [(name, top_1, one) for name, top_1, one in known if top_1 is not None]
    here = [(name, top_1, one.outcome) for name, top_1, one in shown if isinstance(one.outcome, Result)]
    if not here:
        raise ConfigError(f"of the networks measured on {device} none has a published accuracy on {DATASET}: there is nothing to draw")
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, title in ((left, f"measured on {device}"), (right, "published, on a Pixel 1")):
        style(axes)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("latency, ms")
        axes.set_title(title, loc="left", fontsize=11)
    left.set_ylabel(f"published top-1 accuracy on {DATASET}, %")
    for _, top_1, result in here:
        low, high = result.interval_ms or (result.latency_ms, result.latency_ms)
        left.plot([low, high], [top_1, top_1], color=_MEASURED, alpha=0.35, linewidth=3)
    measured = [(name, result.latency_ms, top_1) for name, top_1, result in here]
    published = [(name, latency_ms, top_1) for name, top_1, one in shown if (latency_ms := one.network.published.pixel_1_ms) is not None]
    sides = ((left, measured, _MEASURED), (right, published, _PUBLISHED))
    for axes, points, colour in sides:
        _dots(axes, points, colour)
    figure.draw_without_rendering()  # Names are placed in the final layout.
    figure.set_layout_engine("none")
    for axes, points, _ in sides:
        _names(axes, points)
    return figure


def _dots(axes: Axes, points: Sequence[tuple[str, float, float]], colour: str) -> None:
    axes.plot([x for _, x, _ in points], [y for _, _, y in points], "o", ms=5, color=colour)
    axes.margins(x=0.2, y=0.06)


def _names(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Write the names of points beside them, where no other point or name is."""
    from adjustText import adjust_text

    texts = [axes.text(x, y, name, fontsize=7.5, color="#444444") for name, x, y in points]
    xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
    line = {"arrowstyle": "-", "color": "#999999", "lw": 0.6}
    # Rounds, not seconds, so that the same numbers make the same picture.
    adjust_text(texts, xs, ys, ax=axes, expand=(1.12, 1.8), iter_lim=400, arrowprops=line)
