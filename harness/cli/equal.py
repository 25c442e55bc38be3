"""`harness devices equal`: whether two devices may measure for each other."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--model", "models", multiple=True, metavar="MODEL", help="What is compared, instead of three MobileNets; several times.")
@click.option(
    "--within", callback=options.share, default="3%", show_default=True, metavar="SHARE", help="How far apart they may be in any model."
)
@click.option(
    "--processes", type=click.IntRange(min=3), default=12, show_default=True, metavar="N", help="Processes on each device, per model."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Threads of the runtime.")
@options.as_json
@options.places
def equal(
    a: str,
    b: str,
    models: tuple[str, ...],
    within: float,
    processes: int,
    threads: int,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Test whether devices A and B, of one model, are equal.

    They are where each model's ratio, with its 95% interval, is within the share of 1. The outcome is stored: equal devices may share
    models (harness bench --share). The exit code is 1 where they are not found equal.
    """
    from harness.cli.progress import shown
    from harness.measure.equal import equal as measure
    from harness.report import device_tables
    from harness.report.encode import to_json

    with shown() as progress:
        outcome = measure(
            a,
            b,
            models=models,
            within=within,
            processes=processes,
            threads=threads,
            inventory=inventory,
            results=results_folder,
            progress=progress,
        )
    if as_json:
        options.print_json(to_json(outcome))
    else:
        options.console().print(device_tables.equality_table(outcome))
    if not outcome.equal:
        click.get_current_context().exit(1)
