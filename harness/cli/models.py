"""`harness models`: the networks that the harness knows, beside what was published of them and what a device says."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument("names", nargs=-1, metavar="[NETWORK]...")
@click.option("--measured", "device", metavar="DEVICE", help="Measure them on this device, where the store has no answer, and show it.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="With --measured: draw accuracy against latency.")
@options.as_json
@options.places
def models(
    names: tuple[str, ...],
    device: str | None,
    plot: Path | None,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """List the networks of the zoo, or these, beside what was published.

    Parameters and mult-adds are counted from a network's blocks; parameters are the trained ones. A network without a count was only
    published: papers compare with it.
    """
    if device is not None:
        _measured(names, device, plot, as_json, inventory, results_folder)
        return
    if plot is not None:
        raise click.UsageError("--plot goes with --measured DEVICE: it draws what was measured there.")
    from harness.networks.listing import listed

    found = listed(names)
    if as_json:
        from harness.report.encode import to_json

        options.print_json(to_json(found))
        return
    from harness.report import table

    options.console().print(table.networks_table(found))


def _measured(
    names: tuple[str, ...], device: str, plot: Path | None, as_json: bool, inventory: Path | None, results_folder: Path | None
) -> None:
    if plot is not None:
        from harness.networks.listing import listed
        from harness.report.accuracy import check_drawable
        from harness.report.plots import check_path

        check_path(plot)
        check_drawable(listed(names))
    from harness.cli.progress import shown
    from harness.measure.result import FailedResult
    from harness.measure.zoo import measure_zoo

    with shown() as progress:
        zoo = measure_zoo(device, names, inventory=inventory, results=results_folder, progress=progress)
    if as_json:
        from harness.report.encode import to_json

        options.print_json(to_json(zoo))
    else:
        from harness.report import table

        options.console().print(table.measured_networks_table(zoo, device))
    failed = [one.outcome for one in zoo if isinstance(one.outcome, FailedResult)]
    for failure in failed:
        options.print_error(f"{failure.model}: {failure.error}", stderr_tail=failure.stderr_tail)
    if plot is not None:
        from harness.report.accuracy import plot_accuracy

        click.echo(f"accuracy against latency drawn in {plot_accuracy(zoo, device, plot)}", err=True)
    if failed:
        click.get_current_context().exit(1)
