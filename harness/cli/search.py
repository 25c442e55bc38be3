"""`harness search`: networks that are good and quick on devices, found in a search space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options
from harness.cli.table_build import default_path, what_is_named
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.networks.space import Space
    from harness.search.finish import Final
    from harness.search.study import Searched, Study
    from harness.tables.table import LatencyTable


def live(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Return the share that is written all, none, 10% or 0.1."""
    return {"all": 1.0, "none": 0.0}[value] if value in ("all", "none") else options.share(ctx, param, value)


@click.command()
@click.option("--space", "space_name", required=True, metavar="SPACE", help="A search space's name or file.")
@options.devices
@click.option(
    "--target-ms",
    "targets_ms",
    multiple=True,
    required=True,
    type=options.POSITIVE,
    metavar="MS",
    help="The latency to have: one for all devices, or one for each in their order.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="The table of each device, in their order. Default: where `harness table build SPACE` writes it.",
)
@click.option(
    "--no-table", "untabled", is_flag=True, help="Without a table: measure every candidate, as of spaces with too many blocks for one."
)
@click.option(
    "--strategy",
    default="mnasnet",
    show_default=True,
    metavar="NAME",
    help="mnasnet (PPO), reinforce (Zoph and Le's), evolution (its first 100 candidates are random), random, or Optuna's tpe and nsga2.",
)
@click.option(
    "--reward",
    default="soft",
    show_default=True,
    metavar="NAME",
    help="soft or hard (MnasNet's), absolute (TuNAS's), or constrained (quality within the target).",
)
@click.option(
    "--quantile",
    callback=options.optional_share,
    metavar="SHARE",
    help="Reward by the latency that a candidate stays below with this probability, such as 90%. Default: by the predicted one.",
)
@click.option("--data", metavar="DATA", help="What to train on: a .npz file, a folder of images, or a data set that Keras knows.")
@click.option(
    "--recorded", type=click.Path(path_type=Path), metavar="CSV", help="Instead of training: a file with the columns candidate and quality."
)
@click.option("--trials", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="Candidates to try.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="Candidates between two updates of the strategy.",
)
@click.option(
    "--live",
    "live_share",
    callback=live,
    default="none",
    show_default=True,
    metavar="SHARE",
    help="Which share of each batch to measure on the devices, the most promising: all, none, or such as 10%.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Epochs that a candidate is trained.")
@click.option("--resolution", type=click.IntRange(min=1), metavar="N", help="Train candidates at this input size. Default: the space's.")
@click.option(
    "--learning-rate",
    type=options.POSITIVE,
    default=0.1,
    show_default=True,
    metavar="X",
    help="Of SGD with momentum, for a batch of 128.",
)
@click.option(
    "--final-epochs",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="N",
    help="Epochs that the best one is trained in the end; 0: it is not.",
)
@click.option("--seed", type=options.SEED, default=0, show_default=True, metavar="N", help="Of the strategy and of training.")
@click.option("--precision", type=click.Choice(("float32", "int8")), help="Of the models. Default: that of the --table, or float32.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the runtime. Default: those of the --table, or 1.")
@click.option(
    "--complete", "completed", is_flag=True, help="Measure the blocks that a table lacks first, such as a head for other classes."
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Train, and measure, on the hosts of this Ray cluster (`harness worker`); local: train on a cluster of this one.",
)
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where all of it goes. Default: searches/SPACE-STRATEGY-DEVICE-MSms-seedN in the results folder.",
)
@options.augmentation
@options.as_json
@options.places
def search(
    space_name: str,
    devices: tuple[str, ...],
    targets_ms: tuple[float, ...],
    tables: tuple[Path, ...],
    untabled: bool,
    strategy: str,
    reward: str,
    quantile: float | None,
    data: str | None,
    recorded: Path | None,
    trials: int,
    batch: int,
    live_share: float,
    epochs: int,
    resolution: int | None,
    learning_rate: float,
    final_epochs: int,
    seed: int,
    precision: Any,
    threads: int | None,
    completed: bool,
    ray: str | None,
    folder: Path | None,
    flip: bool,
    pad: int,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Search a space for networks good at DATA and quick on a device.

    Latency is predicted from tables (`harness table build`), and measured for a share of candidates, or without tables for all. In the end
    the best one is trained longer, converted and measured. The folder keeps every trial: the same command goes on where it was cut short.
    """
    if (data is None) == (recorded is None):
        raise click.UsageError("Give --data to train on, or qualities that were --recorded.")
    if untabled and (tables or completed or live_share):
        raise click.UsageError("With --no-table every candidate is measured: --table, --complete and --live go with tables.")
    from harness.cli.search_progress import shown
    from harness.devices.inventory import load_inventory
    from harness.search.recorded import Recorded
    from harness.search.study import Study, Target, run_study

    found = load_inventory(inventory)
    hosts = None if ray == "local" else ray
    if hosts is None:
        names = tuple(device.name for device in found.select(devices))
    elif not devices:
        raise click.UsageError("Name the devices that hosts of the cluster have by --device.")
    else:
        from harness.search.on_ray import join
        from harness.search.ray_devices import Host

        names = tuple(dict.fromkeys(devices))
        join(hosts)
        if live_share or untabled or (data is not None and final_epochs):
            for name in names:
                Host(name, hosts)  # one that no host has is told before anything is trained
    for given, count in (("--target-ms", len(targets_ms)), ("--table", len(tables))):
        if count not in (0, len(names)) and (given == "--table" or count > 1):
            raise click.UsageError(f"{given} is given {count} times for {len(names)} devices.")
    space = what_is_named(space_name, ())
    assert not isinstance(space, list)
    training: Training | None = None
    if data is not None:
        from harness.search.finish import Training, precision_of
        from harness.search.train import adapted
        from harness.training.data import data_named
        from harness.training.fit import Recipe

        recipe = Recipe(epochs=epochs, learning_rate=learning_rate, resolution=resolution, flip=flip, pad=pad)
        training = Training(data_named(data), recipe, final_epochs, seed)
        space = adapted(space, training.data)
    results = results_folder or found.results_dir
    places = {"inventory": inventory, "results": results_folder}
    targets = []
    for index, name in enumerate(names):
        path = tables[index] if tables else default_path(results, space, name, precision or "float32", threads or 1)
        table = None if untabled else _table(path, space_name, name, precision, threads)
        if completed:
            assert table is not None
            table = _completed(table, space, path, inventory, results_folder)
        targets.append(Target(name, table, targets_ms[index % len(targets_ms)], precision or "float32", threads or 1))
    study = Study(space, tuple(targets), strategy, reward, trials, batch, live_share, seed, quantile)
    folder = folder or results / "searches" / _called(study)
    how: dict[str, Any] = {"log": folder / "trials.jsonl", "ray": hosts, **places}
    final = None
    with shown(trials, final_epochs) as tell:
        if training is None:
            assert recorded is not None
            known = Recorded.read(recorded, space)
            outcome = run_study(study, known, settings={"recorded": known.sha256}, tried=tell.tried, progress=tell.progress, **how)
            _write(study, outcome, folder)
        else:
            precision_of(study.targets)
            with training.quality(space, ray) as quality:
                outcome = run_study(study, quality, settings=training.settings, tried=tell.tried, progress=tell.progress, **how)
            _write(study, outcome, folder)
            final = training.finish(study, outcome, folder, each=tell.epoch, progress=tell.progress, ray=hosts, **places)
    _report(study, outcome, final, folder, as_json=as_json)


def _write(study: Study, found: Searched, folder: Path) -> None:
    """Write the fronts and the picture."""
    from harness.report.search_plot import plot_search
    from harness.report.searches import write_front

    write_front(study, found, folder / "front.csv")
    plot_search(study, found, folder / "search.png")


def _table(path: Path, space: str, device: str, precision: str | None, threads: int | None) -> LatencyTable:
    """Return a table; raises ConfigError where it is of another precision, and one that says how to build it where it is not there."""
    from harness.tables.seen import settings_of
    from harness.tables.table import LatencyTable

    if not path.exists():
        raise ConfigError(
            f"there is no latency table {path}", f"build one: harness table build {space} --device {device}, or name another by --table"
        )
    table = LatencyTable.load(path)
    if (precision, threads) == (None, None):
        return table
    has = settings_of(table.origin)
    if has != (asked := (precision or has[0], threads or has[1])):
        what = f"{path} is of {has[0]} models and {has[1]} threads, not of {asked[0]} and {asked[1]}"
        raise ConfigError(what, "leave out --precision and --threads, or name a table that has them")
    return table


def _completed(table: LatencyTable, space: Space, path: Path, inventory: Path | None, results: Path | None) -> LatencyTable:
    from harness.cli.progress import shown
    from harness.tables.complete import complete
    from harness.tables.listing import blocks_of_space

    with shown(by_device=True) as progress:
        return complete(table, blocks_of_space(space), path, inventory=inventory, results=results, progress=progress)


def _called(study: Study) -> str:
    """Return the name of a study's folder."""
    return "-".join(
        (study.space.name, study.strategy, *(f"{target.device}-{target.latency_ms:g}ms" for target in study.targets), f"seed{study.seed}")
    )


def _report(study: Study, found: Searched, final: Final | None, folder: Path, *, as_json: bool) -> None:
    """Print what was found; the exit code is 1 where no candidate has a reward."""
    from harness.report.encode import to_json
    from harness.report.searches import final_table, searched_table

    if as_json:
        told = {"folder": str(folder), "best": found.best, "fronts": found.fronts, "drifts": found.drifts, "final": final}
        options.print_json(to_json(told))
    else:
        shown = options.console()
        shown.print(searched_table(study, found))
        if final is not None:
            shown.print(final_table(final))
    click.echo(f"all trials, the front and its picture are in {folder}", err=True)
    if found.best is None:
        options.print_error("no candidate has a reward", f"why is in {folder / 'trials.jsonl'}, trial by trial")
        click.get_current_context().exit(1)
