"""The rows of a latency table as a pandas frame, for CSV, Parquet and analysis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.networks.graph import text_of
from harness.networks.tables import table_of
from harness.tables.table import LatencyTable, Row

if TYPE_CHECKING:
    import pandas as pd

_TYPES = dict.fromkeys(("warm_ms", "cold_ms", "chain_ms", "interval_low_ms", "interval_high_ms", "spread_ms", "disturbed_share"), "float64")
_TYPES |= dict.fromkeys(("samples", "processes", "threads"), "Int64")


def frame_of(table: LatencyTable) -> pd.DataFrame:
    """Return a row per block: its key, what it is, its latencies, what they rest on, and where they were measured.

    `block` is the block's table as JSON, `inputs` the shapes as the key has them, `measurement_ids` numbers apart by spaces. Files of
    several tables may be put together: device, runtime, threads and precision stand in each row.
    """
    import pandas as pd

    frame = pd.DataFrame([_record(row, table) for row in table.rows])
    times = pd.to_datetime(frame.pop("measured_at"), utc=True).astype("datetime64[us, UTC]")
    types = {name: _TYPES.get(str(name), "string") for name in frame.columns}
    return frame.astype(types).assign(measured_at=times)


def _record(row: Row, table: LatencyTable) -> dict[str, Any]:
    low_ms, high_ms = row.interval_ms or (None, None)
    origin = table.origin
    return {
        "key": row.key,
        "type": None if row.block is None else row.block.type,
        "block": None if row.block is None else json.dumps(table_of(row.block)),
        "inputs": "+".join(map(text_of, row.inputs)),
        "warm_ms": row.warm_ms,
        "cold_ms": row.cold_ms,
        "chain_ms": row.chain_ms,
        "interval_low_ms": low_ms,
        "interval_high_ms": high_ms,
        "spread_ms": row.spread_ms,
        "samples": row.samples,
        "processes": row.processes,
        "disturbed_share": row.disturbed_share,
        "measurement_ids": " ".join(map(str, row.measurement_ids)),
        "measured_at": row.measured_at,
        "device": origin.device,
        "fingerprint": origin.fingerprint,
        "runtime": None if origin.runtime is None else " ".join(filter(None, (origin.runtime, origin.runtime_version))),
        "threads": origin.threads,
        "precision": origin.precision,
    }
