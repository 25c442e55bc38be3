"""`harness table`: what blocks take on a device, and what whole networks would take."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli import options
from harness.cli.table_build import build
from harness.cli.table_validate import validate

_TABLE = click.Path(path_type=Path)


@click.group()
def table() -> None:
    """Predict whole networks from the latency of their blocks."""


table.add_command(build)
table.add_command(validate)


@table.command()
@click.argument("path", type=_TABLE, metavar="TABLE")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@click.option("--complete", "completed", is_flag=True, help="Measure the blocks that TABLE lacks first, and add them to its file.")
@click.option("--device", metavar="NAME", help="Where to measure them. Default: the device that TABLE names.")
@options.as_json
@options.places
def predict(
    path: Path,
    names: tuple[str, ...],
    completed: bool,
    device: str | None,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Predict networks: names of the zoo, files, or candidates of a search space such as space:mnasnet/STRING."""
    from harness.networks.named import network_named
    from harness.tables.table import LatencyTable

    found = LatencyTable.load(path)
    networks = [network_named(name) for name in names]
    if completed:
        from harness.cli.progress import shown
        from harness.tables.complete import complete
        from harness.tables.listing import blocks_of_networks

        with shown(by_device=True) as progress:
            blocks = blocks_of_networks(networks)
            found = complete(found, blocks, path, device=device, inventory=inventory, results=results_folder, progress=progress)
    predictions = tuple(found.predict_many(networks))
    named = [network.name for network in networks]
    if as_json:
        from harness.report.encode import to_json

        options.print_json([{"network": name, **to_json(one)} for name, one in zip(named, predictions, strict=True)])
        return
    from harness.report.latency_tables import predictions_table

    options.console().print(predictions_table(named, predictions, found))


@table.command()
@click.argument("path", type=_TABLE, metavar="TABLE")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw time by block type, stage and resolution (.png, .svg, .pdf)."
)
@options.as_json
def show(path: Path, plot: Path | None, as_json: bool) -> None:
    """Show what a table holds: where it comes from, its blocks, its calibration and its error."""
    if plot is not None:
        from harness.report.plots import check_path

        check_path(plot)
    from harness.tables.table import LatencyTable

    found = LatencyTable.load(path)
    if as_json:
        from harness.tables.table_file import text_of

        options.print_json(json.loads(text_of(found)))
    else:
        from harness.report.latency_tables import latency_table

        options.console().print(latency_table(found))
    if plot is not None:
        from harness.report.table_plot import plot_table

        click.echo(f"the table drawn in {plot_table(found, plot)}", err=True)


@table.command()
@click.argument("a", type=_TABLE, metavar="A")
@click.argument("b", type=_TABLE, metavar="B")
@options.as_json
def diff(a: Path, b: Path, as_json: bool) -> None:
    """Compare two tables: of two devices, or of one at two dates."""
    from harness.tables.difference import difference
    from harness.tables.table import LatencyTable

    found = difference(LatencyTable.load(a), LatencyTable.load(b))
    if as_json:
        from harness.report.encode import to_json

        options.print_json(to_json(found))
        return
    from harness.report.latency_tables import difference_table

    options.console().print(difference_table(found))


@table.command()
@click.argument("path", type=_TABLE, metavar="TABLE")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every column to a CSV file.")
@click.option("--parquet", "parquet_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every column to a Parquet file.")
@click.option(
    "--ofa", "ofa_file", type=click.Path(path_type=Path), metavar="FILE", help="Write warm latencies as OFA's or ProxylessNAS's YAML."
)
@options.as_json
def export(path: Path, csv_file: Path | None, parquet_file: Path | None, ofa_file: Path | None, as_json: bool) -> None:
    """Write the rows of a table for other programs."""
    targets = [target for target in (csv_file, parquet_file, ofa_file) if target is not None]
    if len(targets) != 1:
        raise click.UsageError("give one of --csv, --parquet and --ofa.")
    for suffix, target in ((".csv", csv_file), (".parquet", parquet_file)):
        if target is not None and target.suffix.lower() != suffix:
            raise click.BadOptionUsage(suffix[1:], f"--{suffix[1:]} writes a {suffix} file, not {target}.")
    from harness.tables.table import LatencyTable

    found = LatencyTable.load(path)
    left_out: tuple[str, ...] = ()
    if ofa_file is not None:
        from harness.tables.ofa_yaml import write_ofa

        left_out = write_ofa(found, ofa_file)
    else:
        from harness.measure.frames import export as write
        from harness.tables.frame import frame_of

        write(frame_of(found), targets[0])
    if as_json:
        options.print_json({"file": str(targets[0]), "rows": len(found.rows) - len(left_out), "left_out": list(left_out)})
        return
    click.echo(f"{len(found.rows) - len(left_out)} rows in {targets[0]}", err=True)
    if left_out:
        shown = ", ".join(left_out[:3])
        click.echo(f"{len(left_out)} rows have no name there and are left out: {shown}{' ...' if len(left_out) > 3 else ''}", err=True)


@table.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@click.argument("path", type=_TABLE, metavar="TABLE")
@click.option("--ofa", "kind", flag_value="ofa", help="FILE is OFA's or ProxylessNAS's YAML (default for .yaml and .yml).")
@click.option("--nn-meter", "kind", flag_value="nn-meter", help="FILE is JSON of kernels from nn-Meter's builder (default for .json).")
@click.option("--device", metavar="NAME", help="What to call the device that it was measured on. Default: the file's name.")
@options.as_json
def import_(source: Path, path: Path, kind: str | None, device: str | None, as_json: bool) -> None:
    """Make a TABLE of a FILE that another tool measured. Blocks that are none of ours keep their names."""
    by_suffix = {".yaml": "ofa", ".yml": "ofa", ".json": "nn-meter"}
    chosen = kind or by_suffix.get(source.suffix.lower())
    if chosen is None:
        raise click.UsageError(f"{source} is no .yaml and no .json: say what it is by --ofa or --nn-meter.")
    from harness.files import check_writable

    check_writable(path)
    if chosen == "ofa":
        from harness.tables.ofa_yaml import read_ofa as read
    else:
        from harness.tables.nn_meter import read_nn_meter as read
    made = read(source, device)
    made.save(path)
    named = sum(row.block is not None for row in made.rows)
    if as_json:
        options.print_json({"file": str(path), "rows": len(made.rows), "foreign": len(made.rows) - named})
        return
    click.echo(f"{len(made.rows)} rows in {path}, of which {named} are blocks that networks here can have", err=True)
