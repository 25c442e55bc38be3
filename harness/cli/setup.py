"""`harness setup`: make a board ready."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument("device")
@click.option("--remove", is_flag=True, help="Take away all that was ever put there.")
@options.as_json
@options.inventory
def setup(device: str, *, remove: bool, as_json: bool, inventory: Path | None) -> None:
    """Make the board DEVICE ready to be measured on.

    It needs Python 3.9 or newer there, and no internet: the runtime that fits is fetched here, put into a folder of its own in the user's
    home folder there, and seen to run a model. A second time it says so, and changes nothing.
    """
    from harness.devices import setup as boards
    from harness.devices.inventory import load_inventory
    from harness.report import device_tables
    from harness.report.encode import to_json

    found = load_inventory(inventory).device(device)
    if remove:
        folder = boards.remove(found)
        click.echo(f"{device}: {folder} is removed", err=True)
        return
    made = boards.set_up(found, announce=lambda line: click.echo(f"{device}: {line}", err=True))
    if as_json:
        options.print_json(to_json(made))
    else:
        options.console().print(device_tables.setup_table(made))
