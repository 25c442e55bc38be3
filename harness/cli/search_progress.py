"""What a search is doing, on stderr: a bar of its trials on a terminal, a line now and then elsewhere."""

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
    from harness.search.trial import Trial


@dataclass(frozen=True)
class Shown:
    """What to call with each trial, with what a device does, and with each epoch of the last training."""

    tried: Callable[[Trial], None]
    progress: Callable[[Progress], None]
    epoch: Callable[[int, float], None]


@contextmanager
def shown(trials: int, epochs: int) -> Iterator[Shown]:
    """Give what shows the progress of a search of so many trials, and of so many epochs after it."""
    seen: dict[int, Trial] = {}

    def so_far() -> str:
        rewards = [trial.reward for trial in seen.values() if trial.reward is not None]
        failed = len(seen) - len(rewards)
        best = f"best reward {max(rewards):.4f}" if rewards else "no reward yet"
        return best + (f", {failed} failed" if failed else "")

    if sys.stderr.isatty():
        with _bars(trials, epochs, seen, so_far) as made:
            yield made
    else:
        yield _lines(trials, epochs, seen, so_far)


@contextmanager
def _bars(trials: int, epochs: int, seen: dict[int, Trial], so_far: Callable[[], str]) -> Iterator[Shown]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[about]}", style="dim", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True), auto_refresh=False, speed_estimate_period=3600) as bars:
        searching = bars.add_task("trials", total=trials, about="")
        training = bars.add_task("epochs of the best", total=epochs, about="", visible=False)

        def tried(trial: Trial) -> None:
            seen[trial.number] = trial
            bars.update(searching, total=max(trials, len(seen)), completed=len(seen), about=so_far(), refresh=True)

        def progress(now: Progress) -> None:
            count = f" {now.done} of {now.total}" if now.model else ""
            bars.update(searching, about=f"{so_far()} · {now.device}: {now.phase}{count} {now.note}", refresh=True)

        def epoch(number: int, accuracy: float) -> None:
            bars.update(training, completed=number, visible=True, about=f"accuracy {accuracy:.4f}", refresh=True)

        yield Shown(tried, progress, epoch)


def _lines(trials: int, epochs: int, seen: dict[int, Trial], so_far: Callable[[], str]) -> Shown:
    spoke_s = time.monotonic()
    notes: dict[str, str] = {}

    def due() -> bool:
        nonlocal spoke_s
        if time.monotonic() - spoke_s < PLAIN_EVERY_S:
            return False
        spoke_s = time.monotonic()
        return True

    def tried(trial: Trial) -> None:
        seen[trial.number] = trial
        if due() or (len(seen) == trials and trial.number == trials - 1):
            click.echo(f"trial {len(seen)} of {trials}: {so_far()}", err=True)

    def progress(now: Progress) -> None:
        if now.note and notes.get(now.device) != now.note:
            notes[now.device] = now.note
            click.echo(f"{now.device}: {now.note}", err=True)
        elif due():
            click.echo(f"{now.device}: {now.phase}, {now.done} of {now.total}", err=True)

    def epoch(number: int, accuracy: float) -> None:
        if due() or number == epochs:
            click.echo(f"the best candidate: epoch {number} of {epochs}, accuracy {accuracy:.4f}", err=True)

    return Shown(tried, progress, epoch)
