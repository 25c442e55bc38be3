"""`harness init`: a device inventory to begin with."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("devices.toml"), metavar="[FILE]")
def init(path: Path) -> None:
    """Write a device inventory to begin with.

    FILE, devices.toml where it is left out, then lists this machine, and examples to fill in. A file that is there stays as it is.
    """
    from harness.devices.inventory import write_example

    write_example(path)
    click.echo(f"wrote {path}; `harness doctor` says whether a device of it is fit to measure on", err=True)
