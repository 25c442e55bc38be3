"""A latency table held against its device: fresh measurements of networks beside their predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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
from harness.tables.seen import noise_of, origin_of, seen_of, usual_of
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
    """A table beside its device now. `off`: by how much it is off on the whole, where that is beyond what it says of itself, else None."""

    device: str
    networks: tuple[Validated, ...]
    error: HeldOut
    off: float | None


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
    if origin.precision not in ("float32", "int8") or origin.threads is None:
        raise ConfigError(f"the table of {origin.device} does not say how it was measured", "build one: harness table build")
    with passes_on(device or origin.device, origin.threads, inventory, results, progress) as passes:
        here = passes.rig.device.name
        if apart := origin.differences(origin_of(passes.rig, what, origin.precision, origin.threads, datetime.now(UTC))):
            raise ConfigError(f"the table no longer fits {here}: {'; '.join(apart)}", "build it again: harness table build")
        models = [network_model(network, "int8" if origin.precision == "int8" else "float32") for network in chosen]
        passes.acquire()
        tasks = [passes.task(model, NETWORKS) for model in models]
        passes.run(((tasks, PASSES),))
        passes.finish(tasks)
        usual = usual_of(tasks, origin.threads)
        kept = [index for index, task in enumerate(tasks) if not task.failed]
        measured_ms = [seen_of(tasks[index], usual, origin.threads).interval.centre / 1e6 for index in kept]
        error = judge(table.predict_many([chosen[index] for index in kept]), measured_ms, noise_of(tasks, usual, origin.threads))
    every = list(predictions)
    return Validation(
        here,
        tuple(Validated(chosen[index].name, every[index], took_ms) for index, took_ms in zip(kept, measured_ms, strict=True)),
        error,
        error.bias if abs(error.bias) > _bound(table) else None,
    )


def _bound(table: LatencyTable) -> float:
    """Return how far predictions may be off on the whole: as far as they were wrong network by network, 5% at least."""
    return max(0.05, 0.0 if table.held_out is None else table.held_out.mape)
