"""The blocks that a latency table lacks, measured on its device and added."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from harness.files import StrPath
from harness.measure.result import Progress
from harness.networks.blocks import block_key
from harness.tables.build import measure_blocks
from harness.tables.listing import Placed, models_of
from harness.tables.passes import passes_on
from harness.tables.rows import blocks_to_measure, rows_of, tasks_of
from harness.tables.seen import check_here, reference_ns, settings_of
from harness.tables.table import LatencyTable


def complete(
    table: LatencyTable,
    placed: Iterable[Placed],
    path: StrPath,
    *,
    device: str | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LatencyTable:
    """Return the table with a row for each of these blocks that had none, or too little in it for the form.

    It is written to `path`, the table's file; where none is missing it is the same table.
    They are measured as the others were, and given for the speed that the device had then.
    A call that was cut short is gone on with for a day. Raises ConfigError where the device is not the one, or not set as, the table was
    measured on, and what a session raises.
    """
    blocks = [(block, shapes) for block, shapes in placed if table.predictor.row(block_key(block, shapes)) is None]
    if not blocks:
        return table
    precision, threads = settings_of(table.origin)
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
