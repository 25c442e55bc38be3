"""What a pruning is doing, on stderr: a bar of its phase on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from harness.cli.progress import PLAIN_EVERY_S

if TYPE_CHECKING:
    from harness.measure.result import Progress
    from harness.prune.asked import Told


@dataclass(frozen=True)
class Shown:
    """What to call with each step of a pruning, and with what a device does."""

    step: Callable[[Told], None]
    progress: Callable[[Progress], None]


@contextmanager
def shown() -> Iterator[Shown]:
    """Give what shows the progress of a pruning."""
    if sys.stderr.isatty():
        with _bar() as made:
            yield made
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Shown]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[about]}", style="dim", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("pruning", total=None, about="")

        def step(now: Told) -> None:
            bars.update(task, description=now.phase, completed=now.done, total=now.total or None, about=now.about)

        def progress(now: Progress) -> None:
            about = f"{now.phase} {now.note}".strip()
            bars.update(task, description=now.device, completed=now.done, total=now.total or None, about=about)

        yield Shown(step, progress)


def _lines() -> Shown:
    spoke_s = -PLAIN_EVERY_S
    phase = ""

    def say(now: str, text: str) -> None:
        nonlocal spoke_s, phase
        if now != phase or time.monotonic() - spoke_s >= PLAIN_EVERY_S:
            phase, spoke_s = now, time.monotonic()
            click.echo(text, err=True)

    def step(now: Told) -> None:
        count = f", {now.done} of {now.total}" if now.total else ""
        phase = f"the end of {now.phase}" if now.total and now.done >= now.total else now.phase  # which is said for itself
        say(phase, f"{now.phase}{count}" + (f": {now.about}" if now.about else ""))

    def progress(now: Progress) -> None:
        say(now.device + now.note, f"{now.device}: {now.note or f'{now.phase}, {now.done} of {now.total}'}")

    return Shown(step, progress)
