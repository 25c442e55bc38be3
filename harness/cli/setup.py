"""`harness setup`: make a board or a phone ready."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument("device")
@click.option("--remove", is_flag=True, help="Take away all that was ever put there.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What a phone gets, from `harness bundle`. Default: one made here.",
)
@options.as_json
@options.inventory
def setup(device: str, *, remove: bool, bundle: Path | None, as_json: bool, inventory: Path | None) -> None:
    """Make DEVICE, a board or a phone, ready to be measured on.

    A board needs Python 3.9 or newer, a phone nothing: it gets a bundle that holds a Python. Neither needs internet: the runtime that fits
    is fetched here, put into a folder of its own there, and seen to run a model. A second time it says so, and changes nothing.
    """
    from harness.devices import setup as boards
    from harness.devices.inventory import load_inventory
    from harness.report import device_tables
    from harness.report.encode import to_json

    found = load_inventory(inventory).device(device)
    if remove:
        folder = boards.remove(found)
        click.echo(f"{device}: {folder} is removed", err=True)
        if as_json:
            options.print_json({"device": device, "removed": folder})
        return
    made = boards.set_up(found, lambda line: click.echo(f"{device}: {line}", err=True), bundle=bundle)
    if as_json:
        options.print_json(to_json(made))
    else:
        options.console().print(device_tables.setup_table(made))
