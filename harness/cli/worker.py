"""`harness worker`: this host and its devices join a Ray cluster."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.option("--address", required=True, metavar="HOST:PORT", help="Of the cluster: what `ray start --head` printed.")
@options.devices
@click.option("--cpus", type=click.IntRange(min=0), metavar="N", help="Processors to train on. Default: all of them.")
@click.option("--node-address", metavar="ADDRESS", help="This host's address, as the others reach it. Default: what Ray finds.")
@options.inventory
def worker(address: str, devices: tuple[str, ...], cpus: int | None, node_address: str | None, inventory: Path | None) -> None:
    """Join a Ray cluster with this host and its devices.

    A search on the cluster trains here and measures on them, until this command is interrupted or the cluster ends.
    """
    from harness.devices.inventory import load_inventory
    from harness.search.on_ray import DEVICE, check_reached, load_ray, use_token

    use_token()
    load_ray()
    chosen = load_inventory(inventory).select(devices)
    check_reached(address)
    argv = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--address={address}"]
    argv += [f"--resources={json.dumps({DEVICE + device.name: 1 for device in chosen})}"]
    argv += [] if cpus is None else [f"--num-cpus={cpus}"]
    argv += [] if node_address is None else [f"--node-ip-address={node_address}"]
    environment = dict(os.environ) if inventory is None else {**os.environ, "HARNESS_DEVICES": str(inventory.resolve())}
    click.echo(f"joining {address} with {', '.join(device.name for device in chosen)}", err=True)
    os.execve(sys.executable, argv, environment)  # noqa: S606 - an argument list, no shell; what ends this process ends Ray's
