"""A latency table built on a device: blocks and whole networks measured in passes, calibrated, judged, written."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness.convert.direct import DirectPrecision
from harness.errors import ConfigError, MissingBlock
from harness.files import StrPath
from harness.measure import plan
from harness.measure.batch import NETWORKS
from harness.measure.result import Progress
from harness.measure.rig import Rig
from harness.networks.blocks import block_key
from harness.networks.layered import layered
from harness.networks.network import Network
from harness.networks.space import Space
from harness.tables.calibrate import LEAST_NETWORKS, calibrate
from harness.tables.held_out import judge
from harness.tables.layers import layers_at_widths, varied
from harness.tables.listing import Placed, blocks_of_networks, blocks_of_space, models_of, network_model, networks_of
from harness.tables.need import Needs, spend
from harness.tables.passes import Passes, Task, passes_on
from harness.tables.rows import Blocks, blocks_to_measure, rows_of, tasks_of
from harness.tables.seen import noise_of, origin_of, reference_ns, seen_of
from harness.tables.sought import sought_in
from harness.tables.table import Calibrated, LatencyTable, keys_of
from harness.tables.widths import at_widths

WARM_PASSES, COLD_PASSES, NETWORK_PASSES = 7, 2, 7
CALIBRATION, HELD_OUT = 20, 20
SOUGHT = 0.4
"""Of the networks that a table is calibrated by: the share that are such as a search would find."""

PREDICTED = 200
"""Random networks of a space that stand for all that will be predicted, where time is spent by need."""


def build(
    what: Space | Sequence[Network],
    path: StrPath,
    *,
    device: str | None = None,
    precision: DirectPrecision = "float32",
    threads: int = 1,
    calibration: int = CALIBRATION,
    held_out: int = HELD_OUT,
    chains: bool = False,
    widths: Sequence[float] = (),
    layers: bool = False,
    max_time_s: float | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
    opened: Callable[[Rig], None] | None = None,
) -> LatencyTable:
    """Return the table of a space's blocks, or of those of networks, measured on a device, and write it to `path`.

    `calibration` and `held_out` networks of the space (of networks, they themselves) are measured with the blocks: by the first the form of
    prediction is chosen, by the others, which are random, it is judged. Of the first some are random too, and some such as a search would
    find by what was measured until half of the passes. With `chains` each block is measured in a chain of the same as well, which takes
    twice the time; with `widths` those of networks are measured at these shares of their channels too, for `ChannelLatency`. With `layers`
    it is the table of the networks' single layers, for `LayerLatency`; they are calibrated by networks of random ones of these widths. A
    build that was cut short goes on for a day.

    With `max_time_s` each model is measured once, however long that takes; what is left of the time is spent on those that make
    predictions most unsure. `opened` is given the rig, whose session another thread may close to end the build. Raises ConfigError
    for a space without blocks or with too many, and what a session raises.
    """
    seek = round(SOUGHT * calibration) if isinstance(what, Space) and not what.skips else 0
    networks, blocks = _needed(what, calibration + held_out, widths, layers=layers)
    at = calibration - seek
    spare = networks[at : at + seek]
    del networks[at : at + seek]
    with passes_on(device, threads, inventory, results, progress) as passes:
        if opened is not None:
            opened(passes.rig)
        passes.note(f"writing models of {len(blocks)} blocks")
        models = models_of(blocks, precision)
        wholes = [network_model(network, precision) for network in networks]
        passes.acquire()
        measured = blocks_to_measure(passes, models, precision, chains=chains)
        whole = [passes.task(model, NETWORKS) for model in wholes]
        started = time.monotonic()
        if seek:
            assert isinstance(what, Space)
            first = max(1, WARM_PASSES // 2) if max_time_s is None else 1
            measure_blocks(passes, measured, whole, most=first)
            more = _sought(passes, measured, what, precision, first, networks, spare)
            networks[at:at] = more
            whole[at:at] = [passes.task(network_model(network, precision), NETWORKS) for network in more]
        if max_time_s is None:
            measure_blocks(passes, measured, whole)
        else:
            _measure_for(passes, measured, whole, what if isinstance(what, Space) else networks, started, max_time_s)
        began = min(one.taken_at for task in [*tasks_of(measured), *whole] for one in task.repetitions)
        origin = origin_of(passes.rig, what, precision, began, reference_ns([one.warm for one in measured]))
        table = LatencyTable(origin, rows_of(measured, threads))
        noise = noise_of(whole, threads)
        entire = {row.key for row in table.rows if row.cold_ms is not None and (row.chain_ms is not None or not chains)}
        known = {
            network.sha256: Calibrated.of(network, seen_of(task, threads).latency / 1e6, noise, task.benchmark)
            for network, task in zip(networks, whole, strict=True)
            if task.repetitions and entire.issuperset(keys_of(network))
        }
        rest = list(known)[len(known) - max(0, min(held_out, len(known) - calibration)) :]
        kept = [one for sha256, one in known.items() if sha256 not in rest]
        table.save(Path(path))  # what was measured is kept, also where what follows fails
        if len(kept) < LEAST_NETWORKS:
            passes.note(f"not calibrated: {len(kept)} networks are too few, {LEAST_NETWORKS} the least")
        else:
            table = replace(table, calibration=calibrate(table, kept))
            table.save(Path(path))
        if rest:
            predictions = table.predict_many([network for network in networks if network.sha256 in rest])
            truth = tuple(known[sha256] for sha256 in rest)
            error = judge(predictions, [one.measured_ms for one in truth], noise)
            table = replace(table, held_out=replace(error, measured=truth))
            table.save(Path(path))
        passes.finish([*tasks_of(measured), *whole])
    return table


def _needed(
    what: Space | Sequence[Network], count: int, widths: Sequence[float], *, layers: bool
) -> tuple[list[Network], tuple[Placed, ...]]:
    """Return the networks and the blocks that a table is made of."""
    if isinstance(what, Space):
        if widths or layers:
            hint = "layers and shares of channels go with networks: --network NETWORK --layers --widths 0.5,1"
            raise ConfigError(f"{what.name} has widths of its own", hint)
        return networks_of(what, count), blocks_of_space(what)
    networks = networks_of(what, count)
    at = layers_at_widths if layers else lambda network, shares: at_widths([network], shares)
    wide = [placed for network in networks for placed in at(network, widths)]
    if layers:
        each = -(-count // len(networks))
        networks = [one for network in networks for one in (varied(network, widths, each) if widths else (layered(network),))]
    return networks, tuple({block_key(*placed): placed for placed in (*blocks_of_networks(networks), *wide)}.values())


def measure_blocks(passes: Passes, measured: Sequence[Blocks], whole: Sequence[Task] = (), most: int | None = None) -> None:
    """Take the passes over models of blocks and whole networks that a table needs, `most` of each kind.

    Raises ConfigError where the device can run none of the blocks.
    """
    warm, cold = [one.warm for one in measured], [one.cold for one in measured]
    chains = [one.chain for one in measured if one.chain is not None]
    kinds = ((warm, WARM_PASSES), (whole, NETWORK_PASSES), (cold, COLD_PASSES), (chains, WARM_PASSES))
    passes.run([(tasks, count if most is None else min(count, most)) for tasks, count in kinds])
    if not any(task.repetitions for task in warm):
        raise ConfigError(
            f"{passes.rig.device.name} could run none of the blocks", f"see why: harness results --device {passes.rig.device.name}"
        )
    if failed := sum(task.failed for task in warm):
        passes.note(f"{failed} models of blocks failed and have no rows: harness results shows why")


def _sought(
    passes: Passes,
    measured: Sequence[Blocks],
    space: Space,
    precision: DirectPrecision,
    first: int,
    known: Sequence[Network],
    spare: Sequence[Network],
) -> list[Network]:
    """Return as many networks as are spare: such as a search would find by the first passes and are not known, then spare ones.

    They are the same where a build goes on that was cut short.
    """
    early = [replace(one, warm=replace(one.warm, repetitions=one.warm.repetitions[:first])) for one in measured]
    table = LatencyTable(origin_of(passes.rig, space, precision, datetime.now(UTC)), rows_of(early, passes.rig.threads))
    try:
        sought = sought_in(space, table, len(spare), plan.SEED)
    except MissingBlock:
        sought = []  # blocks that the device cannot run are told of elsewhere
    have = {network.sha256 for network in known}
    found = {network.sha256: network for network in (*sought, *spare) if network.sha256 not in have}
    return list(found.values())[: len(spare)]


def _measure_for(
    passes: Passes,
    measured: Sequence[Blocks],
    whole: Sequence[Task],
    what: Space | Sequence[Network],
    began: float,
    time_s: float,
) -> None:
    measure_blocks(passes, measured, whole, most=1)
    if isinstance(what, Space):
        generator = random.Random(plan.SEED)
        what = [what.network(what.sample(generator)) for _ in range(PREDICTED)]
    spend(passes, Needs(measured, what, passes.rig.threads), measured, whole, NETWORK_PASSES, began=began, time_s=time_s)
