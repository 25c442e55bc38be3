"""`harness table build`: the table of a space's blocks, measured on a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.networks.network import Network
    from harness.networks.space import Space


@click.command()
@click.argument("space", required=False, metavar="[SPACE]")
@click.option(
    "--network", "names", multiple=True, metavar="NETWORK", help="Instead of SPACE: a network whose blocks to measure; several times."
)
@options.device
@click.option(
    "--output",
    "path",
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="Default: tables/SPACE-DEVICE-PRECISION.json in the results folder.",
)
@click.option(
    "--precision", type=click.Choice(("float32", "int8")), default="float32", show_default=True, help="Number format of the models."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Threads of the runtime.")
@click.option(
    "--calibration",
    type=click.IntRange(min=3),
    default=20,
    show_default=True,
    metavar="N",
    help="Random networks to choose a prediction's form by.",
)
@click.option(
    "--held-out", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="Random networks to judge predictions by."
)
@click.option(
    "--max-time",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Begin no further pass after so many seconds, but the first three.",
)
@options.as_json
@options.places
def build(
    space: str | None,
    names: tuple[str, ...],
    device: str | None,
    path: Path | None,
    precision: str,
    threads: int,
    calibration: int,
    held_out: int,
    max_time: float | None,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Measure the blocks of SPACE, a search space's name or file, on a device.

    Random networks are measured with them: by some the form of prediction is chosen, by the others it is judged. A build that was cut
    short goes on by the same command, for a day.
    """
    if (space is None) == (not names):
        raise click.UsageError("Give a SPACE, or networks by --network.")
    from harness.cli.progress import shown
    from harness.devices.inventory import load_inventory
    from harness.files import check_writable
    from harness.tables.build import build as measure

    found = load_inventory(inventory)
    what = what_is_named(space, names)
    called = "networks" if isinstance(what, list) else what.name
    default = (results_folder or found.results_dir) / "tables" / f"{called}-{found.device(device).name}-{precision}.json"
    target = path or default
    if path is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    check_writable(target)
    with shown(by_device=True) as progress:
        table = measure(
            what,
            target,
            device=device,
            precision="int8" if precision == "int8" else "float32",
            threads=threads,
            calibration=calibration,
            held_out=held_out,
            max_time_s=max_time,
            inventory=inventory,
            results=results_folder,
            progress=progress,
        )
    if as_json:
        from harness.tables.table_file import text_of

        options.print_json(json.loads(text_of(table)))
        return
    from harness.report.latency_tables import latency_table

    options.console().print(latency_table(table))
    click.echo(f"the table is in {target}", err=True)


def what_is_named(space: str | None, names: tuple[str, ...]) -> Space | list[Network]:
    """Return a search space by its name or file, or the networks that are named instead."""
    if space is None:
        from harness.networks.named import network_named

        return [network_named(name) for name in names]
    from harness.networks.catalogue import space_named
    from harness.networks.space_file import read_space

    return read_space(Path(space)) if space.endswith(".toml") else space_named(space)
