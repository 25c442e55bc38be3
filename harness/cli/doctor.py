"""`harness doctor`: is a device fit to measure on?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument("device", required=False)
@options.as_json
@options.inventory
def doctor(device: str | None, as_json: bool, inventory: Path | None) -> None:
    """Say whether DEVICE is fit to measure on.

    It does so check by check, with what to do. DEVICE is a name of the inventory; without it the inventory's default
    is checked. A check marked ? is one that the device does not tell.
    """
    from harness.measure.doctor import doctor as examine
    from harness.report import device_tables
    from harness.report.encode import to_json

    checks = examine(device, inventory=inventory)
    if as_json:
        options.print_json(to_json(checks))
    else:
        options.console().print(device_tables.checks_table(checks))
