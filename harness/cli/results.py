"""`harness results`: what the store holds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from harness.cli import options


@click.command()
@options.device
@click.option("--model", metavar="MODEL", help="Only this model, named as it was benchmarked.")
@click.option(
    "--since", callback=options.moment, metavar="DATE", help="Only what was measured since then; local time unless it has an offset."
)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every column to a CSV file.")
@click.option("--parquet", "parquet_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every column to a Parquet file.")
@click.option("--comparisons", is_flag=True, help="List the comparisons instead.")
@options.as_json
@options.places
def results(
    device: str | None,
    model: str | None,
    since: datetime | None,
    csv_file: Path | None,
    parquet_file: Path | None,
    comparisons: bool,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """List stored benchmarks, failures too, or comparisons."""
    targets = [name for name, given in (("--csv", csv_file), ("--json", as_json), ("--parquet", parquet_file)) if given]
    if len(targets) > 1:
        raise click.UsageError(f"{' and '.join(targets)} exclude each other: one form at a time.")
    for suffix, target in ((".csv", csv_file), (".parquet", parquet_file)):
        if target is not None and target.suffix.lower() != suffix:
            raise click.BadOptionUsage(suffix[1:], f"--{suffix[1:]} writes a {suffix} file, not {target}.")

    from harness.measure import frames

    stored = frames.comparisons if comparisons else frames.results
    frame = stored(device=device, model=model, since=since, inventory=inventory, results=results_folder)
    export = csv_file or parquet_file
    if export is not None:
        frames.export(frame, export)
        click.echo(f"{len(frame)} rows in {export}", err=True)
    elif as_json:
        from harness.report.encode import rows_to_json

        options.print_json(rows_to_json(frame))
    elif frame.empty:
        click.echo(f"nothing stored that fits; `harness {'compare A B' if comparisons else 'bench MODEL'}` measures", err=True)
    else:
        from harness.report import table

        options.console().print(table.compared_table(frame) if comparisons else table.stored_table(frame))
