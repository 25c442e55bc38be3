"""`harness trust`: accept the host key of a board."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument("device")
@click.option("--yes", is_flag=True, help="Accept without asking: for a key that was compared otherwise.")
@options.inventory
def trust(device: str, *, yes: bool, inventory: Path | None) -> None:
    """Show the host key of DEVICE and, once you say so, remember it.

    The key goes where your `ssh` keeps those it knows. Hosts that are passed on the way (ProxyJump) come first.
    """
    from harness.devices.inventory import load_inventory
    from harness.devices.trust import accept, unknown_key

    found = load_inventory(inventory).device(device)
    accepted = 0
    while (key := unknown_key(found)) is not None:
        click.echo(f"{key.host} shows {key.fingerprint}", err=True)
        click.echo("on the board, compare: for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done", err=True)
        if not yes:
            click.confirm("Is it the same?", abort=True, err=True)
        accept(key)
        click.echo(f"remembered in {key.file}", err=True)
        accepted += 1
    if not accepted:
        click.echo(f"the host key of {device} is known and the same", err=True)
