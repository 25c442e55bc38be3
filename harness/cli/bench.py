"""`harness bench`: measure models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.convert.model import Precision
    from harness.measure.result import FailedResult, Result


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@options.devices
@click.option("--share", is_flag=True, help="Measure each model once, on whichever device is free: see harness devices equal.")
@options.run_settings
@click.option(
    "--interval",
    callback=options.share,
    default="2%",
    show_default=True,
    metavar="SHARE",
    help="Stop once the interval is within this of the latency.",
)
@click.option(
    "--max-time",
    type=options.SECONDS,
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds of measuring per model, conversion aside. When it fires the result stands, as interval_not_reached.",
)
@click.option("--cold", is_flag=True, help="Empty the caches before each run.")
@click.option(
    "--fresh", is_flag=True, help="Measure even where the store has the answer. What a call that was cut short has measured counts."
)
@options.as_json
@click.option("--samples", "with_samples", is_flag=True, help="With --json: add the raw samples.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the samples into a .png, .svg or .pdf.")
@options.places
def bench(
    models: tuple[str, ...],
    devices: tuple[str, ...],
    share: bool,
    precision: Precision | None,
    threads: int,
    shapes: dict[str, tuple[int, ...]],
    calibration: Path | None,
    interval: float,
    max_time: float,
    cold: bool,
    fresh: bool,
    as_json: bool,
    with_samples: bool,
    plot: Path | None,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Measure how long each MODEL takes on a device, or on several.

    Several devices measure side by side; those of one machine take turns.

    MODEL is a .tflite file, a .keras or .h5 file, a SavedModel folder, a network's .toml file, a name such as mobilenet_v2 or
    mobilenet_v2:width=0.5,resolution=160, or a candidate of a search space such as space:mnasnet/STRING.

    --json prints a list with one object per MODEL and device, in the order given. A model that failed is an object with `model`,
    `device`, `error` and `stderr_tail`, the last words of its worker; the others are still printed, and the exit code is 1.

    --samples adds to each object `samples`: a list with one object per repetition, which holds `repetition` and one list per column:
    chunk, model (a SHA-256), role (candidate or reference), start_ns, wall_ns, cpu_ns, repeats, latency_ns, switches, disturbed.
    """
    options.check_precision(models, precision)
    if with_samples and not as_json:
        raise click.UsageError("--samples goes with --json; to see the samples use --plot.")
    if plot is not None:
        from harness.report.plots import check_path

        check_path(plot)

    from harness.cli.progress import MOST_MODELS, shown
    from harness.devices.inventory import load_inventory
    from harness.measure.benchmark import bench as measure

    many = len(models) > MOST_MODELS or len(load_inventory(inventory).select(devices)) > 1
    with shown(by_device=many) as progress:
        outcomes = measure(
            models,
            device=devices,
            share=share,
            precision=precision,
            threads=threads,
            interval=interval,
            max_time_s=max_time,
            shapes=shapes,
            calibration=calibration,
            cold=cold,
            fresh=fresh,
            inventory=inventory,
            results=results_folder,
            progress=progress,
        )
    report(outcomes, as_json=as_json, with_samples=with_samples, plot=plot, inventory=inventory, results_folder=results_folder)


def report(
    outcomes: list[Result | FailedResult],
    *,
    as_json: bool,
    with_samples: bool,
    plot: Path | None,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Print the outcomes in the order given, draw the plot, and exit 1 where a model failed."""
    from harness.measure.result import FailedResult, Result

    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    frames = []
    if with_samples or plot is not None:
        from harness.measure.frames import samples

        frames = [samples(result.measurement_id, inventory=inventory, results=results_folder) for result in results]

    if as_json:
        from harness.report.encode import samples_to_json, to_json

        raw = {id(result): samples_to_json(frame) for result, frame in zip(results, frames, strict=True)} if with_samples else {}
        rows = [to_json(outcome) | ({"samples": raw[id(outcome)]} if id(outcome) in raw else {}) for outcome in outcomes]
        options.print_json(rows, compact=with_samples)
    elif results:
        from harness.report import table
        from harness.report.remarks import remarks

        console = options.console()
        console.print(table.results_table(results, console))
        for remark in remarks(results):
            console.print(remark)

    if plot is not None and results:
        from harness.report.plots import plot_samples

        click.echo(f"samples drawn in {plot_samples(results, frames, plot)}", err=True)

    failed = [outcome for outcome in outcomes if isinstance(outcome, FailedResult)]
    several = len({outcome.device for outcome in outcomes}) > 1
    for failure, models in _grouped(failed).items():
        error, device, tail = failure
        named = models[0] if len(models) == 1 else f"{len(models)} models, {models[0]} to {models[-1]}"
        where = f" on {device}" if several and not error.startswith(f"{device}: ") else ""
        message = error if error.startswith(models[0]) and not where else f"{named}{where}: {error}"
        options.print_error(message, stderr_tail=tail)
    if failed:
        click.get_current_context().exit(1)


def _grouped(failed: list[FailedResult]) -> dict[tuple[str, str, str], list[str]]:
    """Return which models failed by the same error on the same device: a device that is lost fails all that it had."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for failure in failed:
        groups.setdefault((failure.error, failure.device, failure.stderr_tail), []).append(failure.model)
    return groups
