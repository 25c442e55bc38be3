"""`harness prune`: a model made smaller, and what that gains on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.networks.network import Network
    from harness.prune.outcome import Outcome
    from harness.tables.layers import LayerTable

WIDTHS = (0.25, 0.5, 0.75, 1.0)
WIDER = (*WIDTHS, 1.5, 2.0)
"""For morphnet, which makes layers wider too."""

ABOVE_CHANCE = 1.5
"""Times as accurate as a guess: less says that a model was trained on something else."""


@click.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--method",
    type=click.Choice(("magnitude", "obd", "netadapt", "morphnet")),
    required=True,
    help="magnitude (Han et al.) and obd (Optimal Brain Damage) remove weights; netadapt and morphnet remove channels.",
)
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="What to train on: a .npz file, a folder of images, or a data set that Keras knows. Models are fed values from 0 to 1, and tell "
    "classes.",
)
@click.option("--keep", callback=options.optional_share, metavar="SHARE", help="magnitude, obd: which share of weights to keep.")
@click.option(
    "--quality",
    type=options.POSITIVE,
    metavar="X",
    help="magnitude: instead, keep weights above so many standard deviations of their kernel.",
)
@click.option(
    "--loss", callback=options.optional_share, metavar="SHARE", help="magnitude: instead, as many as cost each kernel so much accuracy."
)
@click.option(
    "--resource",
    type=click.Choice(("latency", "mult-adds", "parameters")),
    default="latency",
    show_default=True,
    help="netadapt, morphnet: what to have less of. By latency channels are cut in eights, as runtimes work on them.",
)
@click.option("--target-ms", type=options.POSITIVE, metavar="MS", help="Of latency: how much to have.")
@click.option("--target-share", callback=options.optional_share, metavar="SHARE", help="Instead: which share of what the model has.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Rounds of pruning and training.")
@click.option("--epochs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Epochs of training in a round.")
@click.option(
    "--step",
    callback=options.share,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="netadapt: by how much of the resource the budget falls in the first step, and then by 0.96 times the step before.",
)
@click.option(
    "--batches", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="netadapt: batches to train each cut for."
)
@click.option(
    "--final-epochs",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Epochs of training in the end.",
)
@click.option(
    "--dense-epochs",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="Epochs that a network of the zoo, which comes untrained, is trained for first.",
)
@click.option(
    "--learning-rate",
    type=options.POSITIVE,
    default=0.005,
    show_default=True,
    metavar="X",
    help="Of SGD with momentum, for a batch of 128, after pruning: a tenth of the dense model's.",
)
@click.option(
    "--dense-learning-rate",
    "dense_rate",
    type=options.POSITIVE,
    default=0.05,
    show_default=True,
    metavar="X",
    help="Of what is trained from new weights.",
)
@click.option(
    "--strength",
    type=options.POSITIVE,
    default=10.0,
    show_default=True,
    metavar="X",
    help="morphnet: of the regularizer, for the whole of the resource.",
)
@click.option(
    "--hessian",
    type=click.Choice(("gauss-newton", "hutchinson", "exact")),
    default="gauss-newton",
    show_default=True,
    help="obd: how the Hessian's diagonal is computed.",
)
@click.option("--seed", type=options.SEED, default=0, show_default=True, metavar="N", help="Of training.")
@options.device
@click.option(
    "--table",
    "table_path",
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="The device's table of the model's layers, which any method's report predicts latency by. "
    "Default with --resource latency: where `harness table build --network MODEL --layers --widths` writes it.",
)
@click.option(
    "--complete", "completed", is_flag=True, help="Measure what that table lacks first: all of the model's layers where there is none."
)
@click.option(
    "--widths",
    callback=options.shares,
    metavar="SHARES",
    help="With --complete: at which shares of their channels layers are measured. Default: 0.25,0.5,0.75,1, for morphnet 1.5,2 too.",
)
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where all of it goes. Default: pruned/MODEL-METHOD-DEVICE in the results folder.",
)
@options.augmentation
@options.as_json
@options.places
def prune(
    model: str,
    method: Any,
    data: str,
    keep: float | None,
    quality: float | None,
    loss: float | None,
    resource: Any,
    target_ms: float | None,
    target_share: float | None,
    rounds: int,
    epochs: int,
    step: float,
    batches: int,
    final_epochs: int,
    dense_epochs: int,
    learning_rate: float,
    dense_rate: float,
    strength: float,
    hessian: Any,
    seed: int,
    device: str | None,
    table_path: Path | None,
    completed: bool,
    widths: tuple[float, ...],
    folder: Path | None,
    flip: bool,
    pad: int,
    as_json: bool,
    inventory: Path | None,
    results_folder: Path | None,
) -> None:
    """Make MODEL smaller, a .keras file or a named network.

    Weights or channels are removed, and what that gains is measured on a device.

    The folder keeps every step: the same command goes on where it was cut short. MODEL itself is never written to.
    """
    structured = method in ("netadapt", "morphnet")
    if structured and (target_ms is None) == (target_share is None):
        raise click.UsageError("Give one of --target-ms and --target-share.")
    if structured and (keep, quality, loss) != (None, None, None):
        raise click.UsageError(f"{method} removes channels: --keep, --quality and --loss are of weights.")
    if not structured and (target_ms, target_share) != (None, None):
        raise click.UsageError(f"{method} removes weights: --target-ms and --target-share are of channels.")
    if target_ms is not None and resource != "latency":
        raise click.UsageError(f"--target-ms is of latency: give --target-share of {resource}.")
    from harness.cli.prune_progress import shown
    from harness.devices.inventory import load_inventory
    from harness.errors import ConfigError
    from harness.prune.asked import Asked
    from harness.prune.given import called_by, model_given
    from harness.prune.masks import left_whole
    from harness.prune.netadapt import Budgets
    from harness.prune.outcome import network_of, outcome_of
    from harness.prune.resources import resource_of
    from harness.prune.structure import Structure
    from harness.prune.study import run_study
    from harness.training.data import data_named
    from harness.training.fit import Recipe, accuracy_of, check_fits

    try:
        asked = Asked(
            method,
            keep=keep,
            quality=quality,
            loss=loss,
            resource=resource,
            target=target_share if target_ms is None else target_ms,
            rounds=rounds,
            epochs=epochs,
            batches=batches,
            final_epochs=final_epochs,
            dense_epochs=dense_epochs,
            strength=strength,
            dense_rate=dense_rate,
            budgets=Budgets(step),
            hessian=hessian,
            seed=seed,
        )
    except ConfigError as error:
        raise click.UsageError(f"{error.message}: {error.hint}") from None
    found = load_inventory(inventory)
    chosen = found.device(device).name
    results = results_folder or found.results_dir
    images = data_named(data)
    recipe = Recipe(learning_rate=learning_rate, label_smoothing=0.0, flip=flip, pad=pad)
    given, trained = model_given(model, images, seed)
    path, called = Path(model).expanduser(), called_by(model)
    folder = folder or results / "pruned" / f"{called}-{method}-{chosen}"
    if trained and path.resolve().parent == folder.resolve():
        raise ConfigError(f"{model} lies in the folder that the outcome goes to", "name another --output: the model is never overwritten")
    structure = Structure(given)  # tells what cannot be pruned
    check_fits(given, images)
    if structured and structure.whole:
        click.echo(f"not known, the channels around them are left whole: {', '.join(structure.whole)}", err=True)
    if not structured and (whole := left_whole(given)):
        click.echo(f"not known, all of their weights are kept: {', '.join(whole)}", err=True)
    if (size := tuple(given.input_shape[1:3])) != images.shape[:2]:
        click.echo(f"images of {_size(images.shape)} are scaled to the {_size(size)} that {called} reads", err=True)
    if trained and (accuracy := accuracy_of(given, images.validation, images.classes, recipe)) < ABOVE_CHANCE / images.classes:
        told = f"{called} tells {accuracy:.1%} of validation images right, hardly more than by chance"
        click.echo(f"{told}: it is fed values from 0 to 1; where it was trained on others, put a Rescaling layer in front", err=True)
    places = {"inventory": inventory, "results": results_folder}
    table = None
    by_latency = structured and resource == "latency"
    if by_latency or table_path is not None or completed:
        widths = widths or (WIDER if method == "morphnet" else WIDTHS)
        table = _table(network_of(given, called), chosen, table_path, results, completed, widths, places)
        table.latency(structure.channels).of(structure.widths)  # a table that lacks layers is told before anything is trained
    if target_share is not None:
        asked = replace(asked, target=target_share * resource_of(resource, structure, table).of(structure.widths))
    with shown() as tell:
        pruned = run_study(given, trained, asked, images, recipe, folder, table if by_latency else None, tell.step)
        outcome = outcome_of(
            model,
            method,
            pruned.dense,
            pruned.model,
            images,
            recipe,
            folder,
            device=chosen,
            table=table,
            progress=tell.progress,
            **places,
        )
    from harness.report.pruned import plot_layers, plot_sensitivities

    plot_layers(outcome, folder / "layers.png")
    if pruned.sensitivities:
        plot_sensitivities(pruned.sensitivities, folder / "sensitivity.png")
    _report(outcome, folder, as_json=as_json)


def _table(
    network: Network, device: str, path: Path | None, results: Path, completed: bool, widths: tuple[float, ...], places: dict[str, Any]
) -> LayerTable:
    """Return the table of a network's layers on a device; raises ConfigError that says how to build it where it is not there."""
    from harness.cli.progress import shown
    from harness.cli.table_build import default_path
    from harness.errors import ConfigError
    from harness.tables.build import build
    from harness.tables.complete import complete
    from harness.tables.layers import LayerTable, layers_at_widths
    from harness.tables.seen import settings_of
    from harness.tables.table import LatencyTable

    path = path or default_path(results, [network], device, "float32", 1, widths=True, layers=True)
    if not path.exists():
        if not completed:
            raise ConfigError(f"there is no latency table {path}", "add --complete to measure the model's layers on the device first")
        path.parent.mkdir(parents=True, exist_ok=True)
        with shown(by_device=True) as progress:
            made = build([network], path, device=device, widths=widths, layers=True, progress=progress, **places)
        return LayerTable(made)
    table = LatencyTable.load(path)
    if settings_of(table.origin) != ("float32", 1):
        what = f"the table {path} is of {table.origin.precision} with {table.origin.threads} threads"
        raise ConfigError(what, "pruned models are float32 and run on one thread: build one of those")
    if table.origin.device != device:
        raise ConfigError(f"the table {path} was built on {table.origin.device}", f"name that device, or build one for {device}")
    if completed:
        with shown(by_device=True) as progress:
            table = complete(table, layers_at_widths(network, widths), path, progress=progress, **places)
    return LayerTable(table)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _report(outcome: Outcome, folder: Path, *, as_json: bool) -> None:
    """Print what was gained."""
    from harness.report.encode import to_json
    from harness.report.pruned import outcome_table

    if as_json:
        options.print_json(to_json({"folder": str(folder), "outcome": outcome}))
    else:
        options.console().print(outcome_table(outcome))
    click.echo(f"pruned.keras, pruned.tflite, the report and its pictures are in {folder}", err=True)
