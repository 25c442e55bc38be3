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
    from matplotlib.figure import Figure

    from harness.measure.result import Result

    target = Path(path)
    check_path(target)
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
        axes.set_xlabel("latency, ms")
        axes.set_title(title, loc="left", fontsize=11)
    left.set_ylabel(f"published top-1 accuracy on {DATASET}, %")
    for name, top_1, result in here:
        low, high = result.interval_ms or (result.latency_ms, result.latency_ms)
        left.plot([low, high], [top_1, top_1], color=_MEASURED, alpha=0.35, linewidth=3)
        _point(left, name, result.latency_ms, top_1, _MEASURED)
    for name, top_1, one in shown:
        if one.network.published.pixel_1_ms is not None:
            _point(right, name, one.network.published.pixel_1_ms, top_1, _PUBLISHED)
    with whole_file(target) as draft:
        figure.savefig(draft, format=target.suffix[1:].lower(), dpi=150)
    return target


def _point(axes: Axes, name: str, latency_ms: float, top_1: float, colour: str) -> None:
    axes.plot([latency_ms], [top_1], "o", ms=5, color=colour)
    axes.annotate(name, (latency_ms, top_1), xytext=(5, 3), textcoords="offset points", fontsize=7.5, color="#444444")
