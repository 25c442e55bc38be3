"""The blocks that a latency table lacks, measured on its device and added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.files import StrPath
from harness.measure.result import Progress
from harness.networks.blocks import block_key
from harness.networks.network import Network
from harness.tables.build import measure_blocks
from harness.tables.listing import blocks_of_networks, models_of
from harness.tables.passes import passes_on
from harness.tables.rows import blocks_to_measure, rows_of, tasks_of
from harness.tables.seen import check_here, reference_ns, settings_of
from harness.tables.table import LatencyTable, keys_of


def complete(
    table: LatencyTable,
    networks: Sequence[Network],
    path: StrPath,
    *,
    device: str | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LatencyTable:
    """Return the table with a row for each block of networks that had none, or too little in it for the form; write it to `path`, its file.

    Where none is missing that is the same table. They are measured as the others were, and given for the speed that the device had then.
    A call that was cut short is gone on with for a day. Raises ConfigError where the device is not the one, or not set as, the table was
    measured on, and what a session raises.
    """
    missing = {key for network in networks for key in keys_of(network) if table.predictor.row(key) is None}
    if not missing:
        return table
    precision, threads = settings_of(table.origin)
    blocks = [(block, shapes) for block, shapes in blocks_of_networks(networks) if block_key(block, shapes) in missing]
    with passes_on(device or table.origin.device, threads, inventory, results, progress) as passes:
        check_here(table.origin, passes.rig)
        models = models_of(blocks, precision)
        passes.acquire()
        measured = blocks_to_measure(passes, models, precision, chains=any(row.chain_ms is not None for row in table.rows))
        measure_blocks(passes, measured)
        then_ns = table.origin.reference_ns
        slower = 1.0 if then_ns is None else reference_ns([one.warm for one in measured]) / then_ns
        completed = LatencyTable.load(path).with_rows(rows_of(measured, threads, slower))  # others may have added some meanwhile
        completed.save(Path(path))
        passes.finish(tasks_of(measured))
    return completed
