"""Options that several commands share, how their values are read, and how the command line speaks to its user."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])
_MOST_WIDE = 4
_DIGITS = 19
"""Of a dimension: those of 64 bits."""
PRECISIONS = ("float32", "float16", "dynamic", "int8")


class _Positive(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


POSITIVE = _Positive(min=0, min_open=True)
"""A finite number above 0."""

SECONDS = _Positive(min=0, min_open=True, max=1_000_000)
"""A length of time: up to eleven days."""

SEED = click.IntRange(min=0, max=2**32 - 1)
"""What numpy takes for a seed."""


def share(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Return the share that is written `2%` or `0.02`, as 0.02."""
    text = value.strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a share; write 2% or 0.02", ctx, param) from None
    if not 0 < number < 1:
        raise click.BadParameter(f"{value!r} is not between 0 and 100%; write 2% or 0.02", ctx, param)
    return number


def optional_share(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return a share as `share` does, None where none is given."""
    return None if value is None else share(ctx, param, value)


def shares(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...]:
    """Return shares written `0.25,0.5,1`, none of which is above 4."""
    try:
        numbers = tuple(float(part) for part in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of shares; write 0.25,0.5,1", ctx, param) from None
    if not all(0 < number <= _MOST_WIDE for number in numbers):
        raise click.BadParameter(f"{value!r}: shares lie between 0 and {_MOST_WIDE}; write 0.25,0.5,1", ctx, param)
    return numbers


def shapes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the dimensions of each input, written `input=1,224,224,3`."""
    mapping: dict[str, tuple[int, ...]] = {}
    for value in values:
        name, _, dims = value.rpartition("=")  # names of inputs may hold = themselves
        parts = [part.strip() for part in dims.split(",")]
        if not name or not all(part.isdecimal() and len(part) < _DIGITS and int(part) > 0 for part in parts):
            raise click.BadParameter(f"{value!r} is not a shape; write NAME=DIMS, such as input=1,224,224,3", ctx, param)
        if name in mapping:
            raise click.BadParameter(f"{name} is given twice", ctx, param)
        mapping[name] = tuple(int(part) for part in parts)
    return mapping


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Return the moment that is written in ISO 8601; without an offset it is local time."""
    try:
        return None if value is None else datetime.fromisoformat(value).astimezone()
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a date; write 2026-11-22 or 2026-11-22T18:30", ctx, param) from None


def inventory(command: Command) -> Command:
    """Add --inventory."""
    return click.option(
        "--inventory",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The device inventory. Default: $HARNESS_DEVICES, then devices.toml in this folder or a parent.",
    )(command)


def places(command: Command) -> Command:
    """Add --inventory and --results: where the devices are listed and where measurements are kept."""
    results = click.option(
        "--results",
        "results_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where measurements are stored. Default: results/ beside the inventory.",
    )
    return inventory(results(command))


def device(command: Command) -> Command:
    """Add --device."""
    return click.option("--device", metavar="NAME", help="A device of the inventory. Default: the inventory's default.")(command)


def devices(command: Command) -> Command:
    """Add --device, which may be given several times."""
    return click.option(
        "--device",
        "devices",
        multiple=True,
        metavar="NAME",
        help="A device of the inventory, or tag:TAG for all that have it; may be given several times. Default: the inventory's.",
    )(command)


def as_json(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def augmentation(command: Command) -> Command:
    """Add --flip and --pad: how images are varied while a network is trained."""
    flip = click.option(
        "--flip/--no-flip", default=True, show_default=True, help="Mirror half of the images: not where that changes what they show."
    )
    pad = click.option(
        "--pad", type=click.IntRange(min=0), default=4, show_default=True, metavar="N", help="Shift images by up to N pixels."
    )
    return flip(pad(command))


def run_settings(command: Command) -> Command:
    """Add --precision, --threads, --shape and --calibration: what a model is made of and how it is run."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            help="What a Keras model is converted to (default float32). Not for a .tflite: its precision is read from its tensors.",
        ),
        click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Threads of the runtime."),
        click.option(
            "--shape",
            "shapes",
            callback=shapes,
            multiple=True,
            metavar="NAME=DIMS",
            help="Dimensions of a dynamic input, such as input=1,224,224,3.",
        ),
        click.option(
            "--calibration",
            type=click.Path(path_type=Path),
            metavar="x.npy",
            help="Representative inputs for --precision int8. Default: random data, which the result says.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_precision(models: Iterable[str], precision: str | None) -> None:
    """Raise a usage error where a precision is asked of a .tflite, whose tensors have theirs already."""
    for model in models:
        if precision is not None and model.lower().endswith(".tflite"):
            message = f"{model} is a .tflite: its precision is read from its tensors. Leave --precision out, or give the Keras model."
            raise click.BadOptionUsage("precision", message)


def console() -> Console:
    """Return the console of stdout; in a file or a pipe, where nothing wraps lines, it is wide enough for any table."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
    return Console(width=wide, highlight=False, markup=False, emoji=False)  # names of models may hold [ and :


def print_json(data: object, *, compact: bool = False) -> None:
    """Print `data` on stdout; it must hold JSON's own types alone."""
    click.echo(json.dumps(data, indent=None if compact else 2, allow_nan=False))


def print_error(message: str, hint: str = "", stderr_tail: str = "") -> None:
    """Print one error on stderr: the message, the last words of the worker, what to do next."""
    first, *rest = message.splitlines() or [""]
    click.echo(click.style("error:", fg="red", bold=True) + f" {first}", err=True)
    for line in rest:
        click.echo(f"  {line}", err=True)
    for line in stderr_tail.splitlines():
        click.echo(click.style(f"  | {line}", dim=True), err=True)
    for line in hint.splitlines():
        click.echo(f"  {line}", err=True)
