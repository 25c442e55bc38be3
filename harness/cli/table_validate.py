"""`harness table validate`: a table held against its device."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options
from harness.cli.table_build import what_is_named


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="TABLE")
@click.option("--space", metavar="SPACE", help="Take random networks of this space. Default: the space that the table was built for.")
@click.option("--network", "names", multiple=True, metavar="NETWORK", help="Instead: a network, such as one of the zoo; several times.")
@click.option("--networks", type=click.IntRange(min=2), default=20, show_default=True, metavar="N", help="How many random networks.")
@options.device
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw predicted against measured (.png, .svg, .pdf).")
@options.as_json
@options.places
def validate(
    path: Path,
    space: str | None,
    names: tuple[str, ...],
    networks: int,
    device: str | None,
    plot: Path | None,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Measure networks anew and compare them with what TABLE predicts.

    The exit code is 1 where the table is off on the whole by more than it says of itself: it no longer fits its device.
    """
    if plot is not None:
        from harness.report.plots import check_path

        check_path(plot)
    from harness.cli.progress import shown
    from harness.report.encode import to_json
    from harness.tables.table import LatencyTable
    from harness.tables.validate import validate as measure

    table = LatencyTable.load(path)
    if not names and space is None and table.origin.space is None:
        raise click.UsageError("The table was built for no space: name one by --space, or networks by --network.")
    with shown(by_device=True) as progress:
        found = measure(
            table,
            what_is_named(None if names else space or table.origin.space, names),
            device=device,
            networks=networks,
            inventory=inventory,
            results=results_folder,
            progress=progress,
        )
    if as_json:
        options.print_json(to_json(found))
    else:
        from harness.report.latency_tables import validation_table

        options.console().print(validation_table(found))
    if plot is not None:
        from harness.report.table_plot import plot_validation

        click.echo(f"predictions drawn in {plot_validation(found, plot)}", err=True)
    if found.off is not None:
        click.get_current_context().exit(1)
