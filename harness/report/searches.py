"""What a search found: its Pareto fronts as tables for the terminal and as CSV, and the model it ended with."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.files import whole_file
from harness.report import numbers

if TYPE_CHECKING:
    from harness.search.drift import Drift
    from harness.search.finish import Final
    from harness.search.study import Searched, Study, Target
    from harness.search.trial import Trial

_MOST = 10
COLUMNS = ("device", "trial", "candidate", "quality", "reward", "target_ms", "latency_ms", "predicted_ms", "measured_ms")


def searched_table(study: Study, found: Searched) -> RenderableType:
    """Return the front on each device, quickest first, the best candidate in bold, and what else is to be said of the search."""
    parts: list[RenderableType] = []
    for name, target in study.resources.items():
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        shown.add_column("trial", justify="right")
        shown.add_column("candidate", overflow="fold")
        for column in ("quality", "predicted", "measured", "reward"):
            shown.add_column(column, justify="right", no_wrap=True)
        front = found.fronts[target.device]
        for trial in _shown(front, found.best):
            predicted_ms, measured_ms = _latencies(trial, name, target)
            shown.add_row(
                str(trial.number),
                study.space.encode(trial.tokens),
                f"{trial.quality:.4f}",
                _time(predicted_ms),
                _time(measured_ms),
                f"{trial.reward:.4f}",
                style="bold" if found.best is not None and trial.tokens == found.best.tokens else "",
            )
        what = f"Pareto front on {target.device}: {len(front)} of {len(found.trials)} trials, target {target.latency_ms:g} ms"
        parts += [shown, Text(what, style="dim")]
    return Group(*parts, *_remarks(study, found))


def _shown(front: tuple[Trial, ...], best: Trial | None) -> Iterator[Trial]:
    """Yield so many trials of a front, evenly over it, and the best one wherever it is."""
    step = max(1.0, (len(front) - 1) / (_MOST - 1))
    places = {round(index * step) for index in range(_MOST)}
    for place, trial in enumerate(front):
        if place in places or (best is not None and trial.tokens == best.tokens):
            yield trial
    if best is not None and best.tokens not in {trial.tokens for trial in front}:
        yield best


def _remarks(study: Study, found: Searched) -> Iterator[Text]:
    if failed := [trial for trial in found.trials if trial.reward is None]:
        yield Text(f"{len(failed)} candidates failed, the first one (trial {failed[0].number}): {failed[0].failure}", style="yellow")
    if found.best is not None and any(found.best.used[name] > target.latency_ms for name, target in study.resources.items()):
        yield Text("the best candidate is above its target, which this reward allows", style="yellow")
    for drift in found.drifts:
        yield drift_line(drift)


def drift_line(drift: Drift) -> Text:
    """Return how a table's predictions lay beside what was measured."""
    said = f"measured on {drift.device}: {drift.error.networks} candidates, off by {numbers.share(drift.error.mape)} on average"
    if drift.off is None:
        return Text(f"{said}, {numbers.signed_share(drift.error.bias)} on the whole: the table fits")
    off = numbers.signed_share(drift.off)
    return Text(f"{said}: the table no longer fits its device, it is {off} off on the whole; build it again", style="bold red")


def final_table(final: Final) -> RenderableType:
    """Return the model that a search ended with, as it was trained and as its devices run it."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("device")
    for column in ("target", "predicted", "measured", "off", "benchmark", "verdict"):
        shown.add_column(column, justify="right", no_wrap=True)
    for one in final.devices:
        benchmark = numbers.time(one.latency_ms)
        if one.interval_ms is not None:
            benchmark += f" ±{numbers.share(numbers.half_width(one.latency_ms, one.interval_ms))}"
        off = "" if one.predicted_ms is None else numbers.signed_share(one.predicted_ms / one.measured_ms - 1)
        shown.add_row(
            one.device,
            numbers.time(one.target_ms),
            _time(one.predicted_ms),
            numbers.time(one.measured_ms),
            off,
            benchmark,
            one.verdict,
        )
    said = f"{final.candidate}, trained for {final.epochs} epochs: {final.test_accuracy:.4f} of the test set"
    if final.file_accuracy is not None:
        said += f", as a .tflite file {final.file_accuracy:.4f}"
    return Group(Text(said, style="bold"), shown)


def write_front(study: Study, found: Searched, path: Path) -> Path:
    """Write the fronts as CSV, one after the other, and return the path. What was not measured, or not predicted, is empty."""
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, target in study.resources.items():
            for trial in found.fronts[target.device]:
                latencies_ms = ("" if latency_ms is None else latency_ms for latency_ms in _latencies(trial, name, target))
                candidate = f"space:{study.space.name}/{study.space.encode(trial.tokens)}"
                known = (target.latency_ms, trial.used[name], *latencies_ms)
                writer.writerow((target.device, trial.number, candidate, trial.quality, trial.reward, *known))
    return path


def _latencies(trial: Trial, name: str, target: Target) -> tuple[float | None, float | None]:
    """Return a trial's predicted latency in ms, and its measured one, where there are any."""
    if target.table is None:
        return None, trial.used[name]
    if name in trial.predicted:
        return trial.predicted[name], trial.used[name]
    return trial.used[name], None


def _time(latency_ms: float | None) -> str:
    return "" if latency_ms is None else numbers.time(latency_ms)
