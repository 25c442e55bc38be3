"""What a long call is doing, on stderr: live lines on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from harness.report import numbers

if TYPE_CHECKING:
    from rich.progress import TaskID

    from harness.measure.result import Progress

_PLAIN_EVERY_S = 30.0


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Give the function to call with each Progress; what it shows is done with when the block ends."""
    if sys.stderr.isatty():
        with _live() as update:
            yield update
    else:
        yield _plain()


@contextmanager
def _live() -> Iterator[Callable[[Progress], None]]:
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
            if now.model not in lines:
                lines[now.model] = bars.add_task(_escaped(now.model), total=None, phase="", so_far="")
            # What reached its precision early is done all the same: its bar is full.
            ended = now.phase in {"stored", "done"}
            total = now.max_time_s or (1.0 if ended else None)
            spent = total if ended else now.spent_s
            bars.update(lines[now.model], total=total, completed=spent, phase=now.phase, so_far=_so_far(now), refresh=True)

        yield update


def _plain() -> Callable[[Progress], None]:
    said: dict[str, tuple[set[str], float]] = {}

    def update(now: Progress) -> None:
        phases, last_s = said.get(now.model, (set(), 0.0))
        # Models take turns, so one is waiting again and again: that is said never, each other phase once.
        new = now.phase != "waiting" and now.phase not in phases
        if new or (now.phase == "measuring" and now.spent_s - last_s >= _PLAIN_EVERY_S):
            said[now.model] = ({*phases, now.phase}, now.spent_s)
            details = _so_far(now)
            click.echo(f"{now.model}: {now.phase}{f', {details}' if details else ''}", err=True)

    return update


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
