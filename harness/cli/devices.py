"""`harness devices`: the inventory, what is found of it now, and which of them are equal."""

from __future__ import annotations

import time
from pathlib import Path

import click

from harness.cli import options
from harness.cli.equal import equal

_EVERY_S = 5.0


@click.group(invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Look again every few seconds, until Ctrl-C.")
@options.as_json
@options.inventory
@click.pass_context
def devices(context: click.Context, *, watch: bool, as_json: bool, inventory: Path | None) -> None:
    """List the devices of the inventory with what is found of them now.

    All are looked at beside each other; nothing is measured, and what measures there goes on.
    """
    if context.invoked_subcommand is not None:
        if watch or as_json or inventory is not None:
            raise click.UsageError(f"Options of harness devices {context.invoked_subcommand} stand behind it.")
        return
    if watch and as_json:
        raise click.UsageError("--watch draws a table; without it, --json prints once.")
    from harness.devices.inventory import load_inventory
    from harness.devices.survey import survey
    from harness.report import device_tables
    from harness.report.encode import to_json

    listed = load_inventory(inventory).devices
    if as_json:
        options.print_json([_without_secrets(to_json(one)) for one in survey(listed)])
        return
    if not watch:
        options.console().print(device_tables.devices_table(survey(listed)))
        return
    from rich.live import Live

    with Live(console=options.console(), auto_refresh=False) as live:
        while True:
            live.update(device_tables.devices_table(survey(listed)), refresh=True)
            time.sleep(_EVERY_S)


devices.add_command(equal)


def _without_secrets(row: dict[str, object]) -> dict[str, object]:
    """Return a device for programs: its name stands for how it is reached."""
    device = row["device"]
    assert isinstance(device, dict)
    return row | {"device": device["name"], "transport": device["transport"]}
