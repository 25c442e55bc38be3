"""What a long call is doing, on stderr: live lines on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from harness.report import numbers

if TYPE_CHECKING:
    from rich.progress import TaskID

    from harness.measure.result import Progress

PLAIN_EVERY_S = 30.0
MOST_MODELS = 12
"""More models than this are not followed one by one."""
_ESTIMATED_OVER_S = 3600.0
_ENDED = ("stored", "done", "failed")


@contextmanager
def shown(*, by_device: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Give the function to call with each Progress; what it shows is done with when the block ends. A line is a model's, or a device's."""
    if sys.stderr.isatty():
        with _live_devices() if by_device else _live_models() as update:
            yield update
    else:
        yield _plain_devices() if by_device else _plain_models()


@contextmanager
def _live_models() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[phase]:<10}"),
        TextColumn("{task.fields[so_far]}", style="dim"),
    )
    lines: dict[str, TaskID] = {}
    # Drawn when there is news and not by a thread of its own: nothing of the harness runs while the device measures.
    with Bars(*columns, console=Console(stderr=True), auto_refresh=False) as bars:

        def update(now: Progress) -> None:
            name = now.model or now.device
            if name not in lines:
                lines[name] = bars.add_task(_escaped(name), total=None, phase="", so_far="")
            # What reached its precision early is done all the same: its bar is full.
            ended = now.phase in {"stored", "done"}
            total = now.max_time_s or (1.0 if ended else None)
            spent = total if ended else now.spent_s
            bars.update(lines[name], total=total, completed=spent, phase=now.phase, so_far=_escaped(now.note) or _so_far(now), refresh=True)

        yield update


@contextmanager
def _live_devices() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[phase]:<10}"),
        TextColumn("{task.fields[about]}", style="dim"),
    )
    lines: dict[str, TaskID] = {}
    with Bars(*columns, console=Console(stderr=True), auto_refresh=False, speed_estimate_period=_ESTIMATED_OVER_S) as bars:

        def update(now: Progress) -> None:
            if now.device not in lines:
                lines[now.device] = bars.add_task(_escaped(now.device), total=None, phase="", about="")
            line, about = lines[now.device], now.note or f"{now.model} {_so_far(now)}"
            if now.model:
                bars.update(line, total=now.total, completed=now.done)
            bars.update(line, phase=now.phase, about=_escaped(about), refresh=True)

        yield update


def _plain_models() -> Callable[[Progress], None]:
    said: dict[str, tuple[set[str], float]] = {}
    notes: dict[str, str] = {}

    def update(now: Progress) -> None:
        if now.note:
            _note(now, notes)
            return
        phases, last_s = said.get(now.model, (set(), 0.0))
        # Models take turns, so one is waiting again and again: that is said never, each other phase once.
        new = now.phase != "waiting" and now.phase not in phases
        if new or (now.phase == "measuring" and now.spent_s - last_s >= PLAIN_EVERY_S):
            said[now.model] = ({*phases, now.phase}, now.spent_s)
            details = _so_far(now)
            click.echo(f"{now.model}: {now.phase}{f', {details}' if details else ''}", err=True)

    return update


def _plain_devices() -> Callable[[Progress], None]:
    before: dict[str, str] = {}
    notes: dict[str, str] = {}
    spoke_s: dict[str, float] = {}

    def update(now: Progress) -> None:
        if now.note:
            _note(now, notes)
            return
        moment_s = time.monotonic()
        if moment_s - spoke_s.setdefault(now.device, moment_s) >= PLAIN_EVERY_S and now.total:
            spoke_s[now.device] = moment_s
            click.echo(f"{now.device}: {now.phase}, {now.done} of {now.total}", err=True)
        # A device that is lost, in use, too hot or set aside says so once until it measures again.
        changed = now.phase in {"waiting", "cooling", "aside"} and before.get(now.device) != now.phase
        before[now.device] = now.phase
        if now.phase in _ENDED:
            click.echo(f"{now.device}: {now.model}: {now.phase}, {now.done} of {now.total}", err=True)
        elif changed:
            click.echo(f"{now.device}: {now.phase}", err=True)

    return update


def _note(now: Progress, notes: dict[str, str]) -> None:
    """Print what concerns a device, once in a row."""
    text = now.note if now.phase == "waiting" else f"{now.phase}, {now.note}"
    if notes.get(now.device) != text:
        notes[now.device] = text
        click.echo(f"{now.device}: {text}", err=True)


def _so_far(now: Progress) -> str:
    """Return repetitions, half-width and time of a benchmark, as far as there are any."""
    if now.repetitions == 0:
        return ""
    parts = ["1 repetition" if now.repetitions == 1 else f"{now.repetitions} repetitions"]
    if now.half_width is not None:
        parts.append(f"±{numbers.share(now.half_width)}")
    if now.max_time_s:  # comparisons end after a count of processes, not at a time
        parts.append(f"{now.spent_s:.0f} of {now.max_time_s:.0f} s")
    return ", ".join(parts)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
