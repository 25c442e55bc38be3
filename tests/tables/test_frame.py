from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness.measure.frames import export
from harness.networks.named import network_named
from harness.networks.tables import block_of
from harness.tables.frame import frame_of
from harness.tables.table import Row
from tests.tables import given

FOREIGN = Row("Logits-input:7x7x1280-output:1000", None, (), 0.3)
TABLE = given.table_of(network_named("mobilenet_v2")).with_rows([FOREIGN])


def test_a_frame_has_all_that_the_rows_have() -> None:
    frame = frame_of(TABLE)
    assert list(frame["key"]) == [row.key for row in TABLE.rows]
    assert list(frame["warm_ms"]) == [row.warm_ms for row in TABLE.rows]
    first = frame.iloc[0]
    assert block_of(json.loads(str(first["block"]))) == TABLE.rows[0].block
    assert (first["inputs"], first["measurement_ids"], first["threads"]) == ("224x224x3", "17 18", 1)
    assert (first["interval_low_ms"], first["interval_high_ms"]) == TABLE.rows[0].interval_ms
    assert first["measured_at"] == given.BEGAN


def test_what_a_row_lacks_is_missing() -> None:
    last = frame_of(TABLE).iloc[-1]
    assert last[["type", "block", "cold_ms", "interval_low_ms", "measured_at"]].isna().all()


def test_rows_that_were_never_measured_at_a_known_time_have_none() -> None:
    frame = frame_of(replace(TABLE, rows=(FOREIGN,)))
    assert frame["measured_at"].isna().all()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_are_kept_exactly_in_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    frame = frame_of(TABLE)
    export(frame, path)
    read = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(read.columns) == list(frame.columns)
    for name in ("warm_ms", "cold_ms", "interval_high_ms"):
        pd.testing.assert_series_equal(read[name], frame[name], check_exact=True)
