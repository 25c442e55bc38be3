"""A latency table held against its device: fresh measurements of networks beside their predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure.batch import NETWORKS
from harness.measure.result import Progress
from harness.networks.network import Network
from harness.networks.space import Space
from harness.tables.held_out import judge
from harness.tables.listing import network_model, networks_of
from harness.tables.passes import passes_on
from harness.tables.predict import Prediction
from harness.tables.seen import check_here, noise_of, reference_ns, seen_of, settings_of
from harness.tables.table import HeldOut, LatencyTable

PASSES = 7
SEED = 1
"""Other networks than those that the table was built with."""


@dataclass(frozen=True)
class Validated:
    """One network: predicted from the table, and measured now."""

    name: str
    prediction: Prediction
    measured_ms: float


@dataclass(frozen=True)
class Validation:
    """A table beside its device now. `off`: by how much it is off on the whole, where that is beyond what it says of itself, else None.

    `reference_drift` is how far the mobile reference model runs from when the table was built (0.03: 3% slower), None where that is not
    known.
    """

    device: str
    networks: tuple[Validated, ...]
    error: HeldOut
    off: float | None
    reference_drift: float | None


def validate(
    table: LatencyTable,
    what: Space | Sequence[Network],
    *,
    device: str | None = None,
    networks: int = 20,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Validation:
    """Return how far the table is from what random networks of a space, or these networks, take now on the device.

    Raises MissingBlock before anything is measured where a network has a block without a row, and ConfigError where the device is not
    the one, or not set as, the table was measured on.
    """
    origin = table.origin
    chosen = networks_of(what, networks, SEED)
    predictions = table.predict_many(chosen)
    precision, threads = settings_of(origin)
    with passes_on(device or origin.device, threads, inventory, results, progress) as passes:
        check_here(origin, passes.rig)
        models = [network_model(network, precision) for network in chosen]
        passes.acquire()
        tasks = [passes.task(model, NETWORKS, fresh=True) for model in models]
        passes.run(((tasks, PASSES),))
        passes.finish(tasks)
        kept = [index for index, task in enumerate(tasks) if task.repetitions]
        if not kept:
            raise ConfigError(
                f"{passes.rig.device.name} could run none of the networks", f"see why: harness results --device {passes.rig.device.name}"
            )
        measured_ms = [seen_of(tasks[index], threads).latency / 1e6 for index in kept]
        error = judge(table.predict_many([chosen[index] for index in kept]), measured_ms, noise_of(tasks, threads))
    every = list(predictions)
    return Validation(
        passes.rig.device.name,
        tuple(Validated(chosen[index].name, every[index], took_ms) for index, took_ms in zip(kept, measured_ms, strict=True)),
        error,
        error.bias if abs(error.bias) > bound(table) else None,
        None if origin.reference_ns is None else reference_ns(tasks) / origin.reference_ns - 1,
    )


def bound(table: LatencyTable) -> float:
    """Return how far predictions may be off on the whole: as far as they were wrong network by network, 5% at least."""
    return max(0.05, 0.0 if table.held_out is None else table.held_out.mape)
