"""Whole networks measured as a table's are: what each takes in its quickest moments, all of them in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.convert.model import Model
from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure.batch import NETWORKS
from harness.measure.result import Progress
from harness.tables.build import NETWORK_PASSES
from harness.tables.passes import passes_on
from harness.tables.seen import Seen, check_here, seen_of
from harness.tables.table import Origin


@dataclass(frozen=True)
class Measured:
    """What a network takes on a device, and the 95% interval of that."""

    latency_ms: float
    interval_ms: tuple[float, float] | None


def measured(
    models: Sequence[Model],
    device: str,
    threads: int = 1,
    *,
    like: Origin | None = None,
    fresh: bool = False,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Measured]:
    """Return the latency of each model on a device.

    What it is to be `like` is where a table came from, whose device it must be, set as it was then. Unless `fresh`, a call that was cut
    short is gone on with for a day. Raises ConfigError where the device is not like that, or cannot run a model, and what a session raises.
    """
    with passes_on(device, threads, inventory, results, progress) as passes:
        if like is not None:
            check_here(like, passes.rig)
        passes.acquire()
        tasks = [passes.task(model, NETWORKS, fresh=fresh) for model in models]
        passes.run(((tasks, NETWORK_PASSES),))
        passes.finish(tasks)
    for model, task in zip(models, tasks, strict=True):
        if not task.repetitions:
            raise ConfigError(f"{device} cannot run {model.name}", f"see why: harness results --device {device}")
    return [_measured(seen_of(task, threads)) for task in tasks]


def _measured(seen: Seen) -> Measured:
    interval_ms = None if seen.interval is None else (seen.interval[0] / 1e6, seen.interval[1] / 1e6)
    return Measured(seen.latency / 1e6, interval_ms)
