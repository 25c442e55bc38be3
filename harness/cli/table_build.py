"""`harness table build`: the table of a space's blocks, measured on a device."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.devices.inventory import Device
    from harness.measure.result import Progress
    from harness.measure.rig import Rig
    from harness.networks.network import Network
    from harness.networks.space import Space
    from harness.tables.table import LatencyTable

TABLES = "tables"


@click.command()
@click.argument("space", required=False, metavar="[SPACE]")
@click.option(
    "--network",
    "names",
    multiple=True,
    metavar="NETWORK",
    help="Instead of SPACE: a network, or a .keras file, whose blocks to measure; several times.",
)
@options.devices
@click.option(
    "--output",
    "path",
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="Of a single device. Default: tables/NAME-DEVICE-PRECISION.json in the results folder.",
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
    help="Networks to choose a prediction's form by: random ones, and some such as a search would find.",
)
@click.option(
    "--held-out", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="Random networks to judge predictions by."
)
@click.option(
    "--widths",
    callback=options.shares,
    metavar="SHARES",
    help="With --network: measure each block at these shares of its channels too, such as 0.25,0.5,0.75,1.",
)
@click.option("--layers", is_flag=True, help="With --network: measure each layer by itself, for pruning; goes with --widths.")
@click.option("--chains", is_flag=True, help="Measure each block in a chain of the same as well; takes twice the time.")
@click.option(
    "--max-time",
    type=options.SECONDS,
    metavar="S",
    help="Measure each block once, then those that make predictions most unsure, for so many seconds in all.",
)
@options.as_json
@options.places
def build(
    space: str | None,
    names: tuple[str, ...],
    devices: tuple[str, ...],
    path: Path | None,
    precision: str,
    threads: int,
    calibration: int,
    held_out: int,
    widths: tuple[float, ...],
    layers: bool,
    chains: bool,
    max_time: float | None,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Measure the blocks of SPACE, a search space's name or file, on a device, or on several side by side.

    Random networks are measured with them: by some the form of prediction is chosen, by the others it is judged. A build that was cut
    short goes on by the same command, for a day.
    """
    if (space is None) == (not names):
        raise click.UsageError("Give a SPACE, or networks by --network.")
    from harness.cli.progress import shown
    from harness.devices.inventory import load_inventory
    from harness.files import check_writable
    from harness.tables.build import build as measure
    from harness.tables.side_by_side import build_on_each

    found = load_inventory(inventory)
    chosen = found.select(devices)
    if path is not None and len(chosen) > 1:
        raise click.UsageError("--output names one file: leave it out for several devices.")
    what = what_is_named(space, names)
    folder = results_folder or found.results_dir
    targets = {device.name: path or default_path(folder, what, device.name, precision, threads, bool(widths), layers) for device in chosen}
    if path is None:
        (folder / TABLES).mkdir(parents=True, exist_ok=True)
    for target in targets.values():
        check_writable(target)

    def measured(device: Device, progress: Callable[[Progress], None], opened: Callable[[Rig], None]) -> LatencyTable:
        return measure(
            what,
            targets[device.name],
            device=device.name,
            precision="int8" if precision == "int8" else "float32",
            threads=threads,
            calibration=calibration,
            held_out=held_out,
            chains=chains,
            widths=widths,
            layers=layers,
            max_time_s=max_time,
            inventory=inventory,
            results=results_folder,
            progress=progress,
            opened=opened,
        )

    with shown(by_device=True) as progress:
        made = build_on_each(chosen, measured, progress)
    _report(made, targets, as_json=as_json)


def default_path(
    results: Path, what: Space | list[Network], device: str, precision: str, threads: int, widths: bool = False, layers: bool = False
) -> Path:
    """Return where the table of a device is written unless the user names a file."""
    parts = _called(what), "layers" if layers else "", "widths" if widths else "", f"{threads}threads" if threads > 1 else ""
    called = "-".join(filter(None, parts))
    return results / TABLES / f"{called}-{device}-{precision}.json"


def _called(what: Space | list[Network]) -> str:
    """Return what a table of a space or of networks is called: one of other networks has another name."""
    if not isinstance(what, list):
        return what.name
    if len(what) == 1:
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", what[0].name)
    together = hashlib.sha256("".join(sorted(network.sha256 for network in what)).encode()).hexdigest()
    return f"{len(what)}-networks-{together[:8]}"


def _report(made: Mapping[str, LatencyTable | HarnessError], targets: Mapping[str, Path], *, as_json: bool) -> None:
    """Print the table of each device; of several that failed each is told, one that was alone raises its error."""
    from harness.report.latency_tables import latency_table
    from harness.tables.table_file import text_of

    failed = {name: table for name, table in made.items() if isinstance(table, HarnessError)}
    if failed and len(made) == 1:
        raise next(iter(failed.values()))
    tables = {name: table for name, table in made.items() if not isinstance(table, HarnessError)}
    if as_json:
        every = {name: json.loads(text_of(table)) for name, table in tables.items()}
        options.print_json(every if len(made) > 1 else next(iter(every.values())))
    for name, table in tables.items():
        if not as_json:
            options.console().print(latency_table(table))
        click.echo(f"the table of {name} is in {targets[name]}", err=True)
    for error in failed.values():
        options.print_error(str(error), error.hint)
    if failed:
        click.get_current_context().exit(1)


def _network(text: str) -> Network:
    """Return a network by its name, or that which the Keras model of a file is."""
    if text.endswith(".keras"):
        from harness.prune.given import network_given

        return network_given(text)
    from harness.networks.named import network_named

    return network_named(text)


def what_is_named(space: str | None, names: tuple[str, ...]) -> Space | list[Network]:
    """Return a search space by its name or file, or the networks that are named instead."""
    if space is None:
        return [_network(name) for name in names]
    from harness.networks.catalogue import space_named
    from harness.networks.space_file import read_space

    return read_space(Path(space)) if space.endswith(".toml") else space_named(space)
