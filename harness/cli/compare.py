"""`harness compare` and `harness aa`: differences, and how small a one this rig can see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.convert.model import Precision


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@click.option("--device", "devices", multiple=True, metavar="NAME", help="The device; given twice, A alone is compared on the two.")
@options.run_settings
@click.option("--processes", type=click.IntRange(min=3), default=6, show_default=True, metavar="N", help="Fresh processes to alternate in.")
@options.as_json
@options.places
def compare(
    a: str,
    b: str | None,
    devices: tuple[str, ...],
    precision: Precision | None,
    threads: int,
    shapes: dict[str, tuple[int, ...]],
    calibration: Path | None,
    processes: int,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Measure A and B in alternation: their ratio.

    The ratio comes with its interval and a plain sentence. A and B are models as `harness bench` takes them. One model is
    compared on two devices, or two runtimes of
    one machine, by giving --device twice: harness compare MODEL --device local --device local-tflite-runtime.
    """
    if b is None and len(devices) != 2:
        raise click.UsageError("Give a second model B, or --device twice to compare A on two devices.")
    if b is not None and len(devices) > 1:
        raise click.UsageError("Two models are compared on one device; leave out B to compare A on two.")
    options.check_precision([model for model in (a, b) if model is not None], precision)

    from harness.cli.progress import shown
    from harness.measure.compare import compare as measure
    from harness.report import table
    from harness.report.encode import to_json

    with shown() as progress:
        comparison = measure(
            a,
            b,
            devices=devices,
            precision=precision,
            threads=threads,
            shapes=shapes,
            calibration=calibration,
            processes=processes,
            inventory=inventory,
            results=results_folder,
            progress=progress,
        )
    if as_json:
        options.print_json(to_json(comparison))
    else:
        options.console().print(table.comparison_table(comparison))


@click.command()
@click.argument("model")
@options.device
@options.run_settings
@click.option("--pairs", type=click.IntRange(min=3), default=40, show_default=True, metavar="N", help="Comparisons with itself.")
@options.as_json
@options.places
def aa(
    model: str,
    device: str | None,
    precision: Precision | None,
    threads: int,
    shapes: dict[str, tuple[int, ...]],
    calibration: Path | None,
    pairs: int,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Compare MODEL with itself: what this rig can see.

    Reports how often a difference is claimed where there is none, and the smallest difference that a
    comparison finds nine times of ten; stores the spread between visits, which later intervals include.
    """
    options.check_precision([model], precision)

    from harness.cli.progress import shown
    from harness.measure.aa import aa as measure
    from harness.report import table
    from harness.report.encode import to_json

    with shown() as progress:
        report = measure(
            model,
            device=device,
            pairs=pairs,
            precision=precision,
            threads=threads,
            shapes=shapes,
            calibration=calibration,
            inventory=inventory,
            results=results_folder,
            progress=progress,
        )
    if as_json:
        options.print_json(to_json(report))
    else:
        options.console().print(table.aa_table(report))
