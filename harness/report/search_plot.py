"""A search, drawn: its candidates by latency and quality, the Pareto front, the target, and how rewards rose."""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from harness.files import whole_file
from harness.report.plots import COLOURS, check_path, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.search.study import Searched, Study, Target

_GREY = "#9a9a9a"


def plot_search(study: Study, found: Searched, path: str | os.PathLike[str]) -> Path:
    """Draw a search and return the path written; the suffix of `path` chooses PNG, SVG or PDF.

    For each device the candidates by latency, hollow where it was predicted alone, and their front; at the right the best reward so far.
    """
    target = Path(path)
    check_path(target)
    figure = draw_search(study, found)
    with whole_file(target) as draft:
        figure.savefig(draft, format=target.suffix[1:].lower(), dpi=150)
    return target


def draw_search(study: Study, found: Searched) -> Figure:
    """Return the picture that `plot_search` writes."""
    from matplotlib.figure import Figure

    count = len(study.targets)
    figure = Figure(figsize=(5.6 * count + 4.2, 4.4), layout="constrained")
    *fronts, rewards = figure.subplots(1, count + 1, width_ratios=[1.4] * count + [1])
    for axes, (name, target) in zip(fronts, study.resources.items(), strict=True):
        _draw_front(axes, found, name, target)
    _draw_rewards(rewards, found)
    return figure


def _draw_front(axes: Axes, found: Searched, name: str, target: Target) -> None:
    style(axes)
    predicted: list[tuple[float, float]] = []
    measured: list[tuple[float, float]] = []
    for trial in found.trials:
        if trial.reward is not None and trial.quality is not None:
            points = measured if target.table is None or name in trial.predicted else predicted
            points.append((trial.used[name], trial.quality))
    for points, face, label in ((predicted, "none", "predicted"), (measured, COLOURS[0], "measured")):
        if points:
            axes.plot(*zip(*points, strict=True), "o", ms=4, mfc=face, mec=COLOURS[0], mew=0.7, alpha=0.6, label=label)
    front = [(trial.used[name], trial.quality) for trial in found.fronts[target.device]]
    if front:
        axes.step(*zip(*front, strict=True), where="post", color=COLOURS[1], lw=1.4, label="Pareto front")
    axes.axvline(target.latency_ms, color=_GREY, lw=1, ls="--", label=f"target {target.latency_ms:g} ms")
    if found.best is not None:
        axes.plot(found.best.used[name], found.best.quality or 0.0, "*", ms=13, color=COLOURS[5], label="best reward")
    axes.set_xlabel(f"latency on {target.device}, ms")
    axes.set_ylabel("quality")
    axes.legend(loc="lower right", fontsize=8, frameon=False)


def _draw_rewards(axes: Axes, found: Searched) -> None:
    style(axes)
    known = [(trial.number, trial.reward) for trial in found.trials if trial.reward is not None]
    if known:
        numbers, rewards = zip(*known, strict=True)
        axes.plot(numbers, rewards, ".", ms=3, color=_GREY, label="a trial")
        axes.plot(numbers, list(accumulate(rewards, max)), color=COLOURS[0], lw=1.4, label="best so far")
        axes.legend(loc="lower right", fontsize=8, frameon=False)
    axes.set_xlabel("trial")
    axes.set_ylabel("reward")
