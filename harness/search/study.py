"""A study: candidates of a space tried against target latencies on devices, predicted by tables or measured there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.convert.direct import DirectPrecision
from harness.devices.inventory import load_inventory
from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure.result import Progress
from harness.measure.store import Store
from harness.networks.blocks import block_key
from harness.networks.space import Space
from harness.search.drift import Drift, drift_of
from harness.search.front import pareto_front
from harness.search.live import LiveLatency
from harness.search.named import reward_named, strategy_named
from harness.search.resources import Resource, TableLatency
from harness.search.run import BATCH, Parallel, Quality, search
from harness.search.trial import Trial, best_of
from harness.tables.least import least
from harness.tables.listing import blocks_of_space
from harness.tables.seen import settings_of
from harness.tables.table import LatencyTable, Origin
from harness.tables.table_file import text_of

if TYPE_CHECKING:
    from harness.search.ray_devices import RayLatency


@dataclass(frozen=True)
class Target:
    """A device, its table, and the latency in ms that candidates are to have there.

    Without a table every candidate is measured, as a model of this precision with so many threads; those of a table are its own.
    """

    device: str
    table: LatencyTable | None
    latency_ms: float
    precision: DirectPrecision = "float32"
    threads: int = 1

    @property
    def origin(self) -> Origin | None:
        """Where the table came from."""
        return None if self.table is None else self.table.origin

    @property
    def settings(self) -> tuple[DirectPrecision, int]:
        """The precision and the threads of its models; raises ConfigError for a table that does not tell them."""
        return (self.precision, self.threads) if self.table is None else settings_of(self.table.origin)

    def __post_init__(self) -> None:
        if self.table is not None and self.table.origin.device != self.device:
            what = f"the table for {self.device} was built on {self.table.origin.device}"
            raise ConfigError(what, f"name that device, or build one: harness table build SPACE --device {self.device}")


@dataclass(frozen=True)
class Study:
    """What is searched for, and how; see `search`. `live_share` of each batch is measured on devices with tables, the most promising ones.

    With a `quantile` a candidate is rewarded by the latency that it stays below with this probability.
    """

    space: Space
    targets: tuple[Target, ...]
    strategy: str = "mnasnet"
    reward: str = "soft"
    trials: int = 200
    batch: int = BATCH
    live_share: float = 0.0
    seed: int = 0
    quantile: float | None = None

    @property
    def resources(self) -> dict[str, Target]:
        """What each target's latency is called in a trial: latency_ms, with several devices also of which."""
        if len(self.targets) == 1:
            return {"latency_ms": self.targets[0]}
        return {f"latency_ms of {target.device}": target for target in self.targets}


@dataclass(frozen=True)
class Searched:
    """What a study found: all trials, the Pareto front of quality and latency on each device, the trial of the largest reward.

    `best` is None where no candidate has a reward. `drifts` tell of the tables whose predictions were measured, as far as often enough.
    """

    trials: tuple[Trial, ...]
    fronts: Mapping[str, tuple[Trial, ...]]
    best: Trial | None
    drifts: tuple[Drift, ...]


def run_study(
    study: Study,
    quality: Quality | Parallel,
    *,
    log: StrPath | None = None,
    settings: Mapping[str, Any] | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    tried: Callable[[Trial], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    ray: str | None = None,
) -> Searched:
    """Return what a study finds. `tried` is told each trial, and again once it is measured; `progress` what devices are doing.

    With the address of a Ray cluster candidates are measured by its hosts that have the devices, each by its own inventory.

    The file `log` keeps the trials: the same study goes on from there, and one of other `settings` is refused. Raises ConfigError for a
    target that no candidate reaches, an unknown strategy or reward, a table that lacks blocks of the space or no longer fits its device,
    and what a session raises.
    """
    resources = study.resources
    reward = reward_named(study.reward, {name: target.latency_ms for name, target in resources.items()})
    strategy = strategy_named(study.strategy, study.space, study.seed, tuple(resources))
    predicted = {name: TableLatency(target.table, study.space, name) for name, target in resources.items() if target.table is not None}
    for target in study.targets:
        check_reachable(study.space, target)
        if study.quantile is not None and target.table is not None and target.table.calibration is None:
            what = f"the table of {target.device} predicts without intervals: there is no quantile of them"
            raise ConfigError(what, "build it with networks to calibrate it by")
    own = {
        "space": hashlib.sha256(repr(study.space).encode()).hexdigest(),
        "strategy": study.strategy,
        "seed": study.seed,
        "tables": [_told_by(target.table, study.space) for target in study.targets if target.table is not None],
        "measured on": [[target.device, *target.settings] for target in study.targets if target.table is None],
    }
    with ExitStack() as stack:
        measured = {name: target for name, target in resources.items() if study.live_share or target.table is None}
        if not measured:
            live: dict[str, Resource] = {}
        elif ray is None:
            live = {one.name: stack.enter_context(one) for one in _live_here(study.space, measured, inventory, results, progress)}
        else:
            store = stack.enter_context(Store.open(results or load_inventory(inventory).results_dir))
            live = {one.name: one for one in _live_on_ray(study.space, measured, ray, store)}
        trials = search(
            strategy,
            quality,
            [predicted.get(name) or live[name] for name in resources],
            reward,
            trials=study.trials,
            batch=study.batch,
            live=[one for name, one in live.items() if name in predicted],
            live_share=study.live_share,
            quantile=study.quantile,
            log=log,
            settings={**own, **(settings or {})},
            progress=tried,
        )
    drifts = (drift_of(trials, name, target.table) for name, target in resources.items() if target.table is not None)
    return Searched(
        trials,
        {target.device: pareto_front(trials, name) for name, target in resources.items()},
        best_of(trials),
        tuple(drift for drift in drifts if drift is not None),
    )


def _live_here(
    space: Space,
    targets: Mapping[str, Target],
    inventory: StrPath | None,
    results: StrPath | None,
    progress: Callable[[Progress], None] | None,
) -> Iterator[LiveLatency]:
    """Yield what measures candidates on each device from this host, to be entered."""
    for name, target in targets.items():
        precision, threads = target.settings
        yield LiveLatency(
            space,
            device=target.device,
            precision=precision,
            threads=threads,
            inventory=inventory,
            results=results,
            progress=progress,
            name=name,
            like=target.origin,
        )


def _live_on_ray(space: Space, targets: Mapping[str, Target], address: str, store: Store) -> list[RayLatency]:
    """Return what measures candidates on each device by the host of a cluster that has it."""
    from harness.search.ray_devices import RayLatency, There

    return [
        RayLatency(There(space, target.device, *target.settings, target.origin), store, address, name) for name, target in targets.items()
    ]


def _told_by(table: LatencyTable, space: Space) -> str:
    """Return a hash of what predictions of a space's candidates rest on: another block that was added to the table changes none."""
    keys = set(table.by_key) if space.skips else {block_key(block, shapes) for block, shapes in blocks_of_space(space)}
    if table.calibration is not None:
        keys |= {key for network in table.calibration.networks for key in network.keys}
    rows = sorted((row for row in table.rows if row.key in keys), key=lambda row: row.key)
    return hashlib.sha256(text_of(LatencyTable(table.origin, tuple(rows), table.calibration)).encode()).hexdigest()


def check_reachable(space: Space, target: Target) -> None:
    """Raise ConfigError, which tells the least latency that the space can reach, for a target below it.

    Of spaces with skips, and without a table, it is not known, and nothing is checked.
    """
    found = None if target.table is None else least(target.table, space)
    if found is not None and found[1] > target.latency_ms:
        tokens, least_ms = found
        raise ConfigError(
            f"{target.latency_ms:g} ms on {target.device}: no candidate of {space.name} is predicted less than {least_ms:.4g} ms",
            f"that is space:{space.name}/{space.encode(tokens)}\ngive a target above it, or a space of smaller networks",
        )
