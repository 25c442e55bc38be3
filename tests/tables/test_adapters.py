from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import MissingBlock
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.tables.adapters import NniProfiler, OfaLatencyTable
from harness.tables.calibrate import calibrate
from harness.tables.ofa_names import name_for
from harness.tables.table import Calibrated, keys_of
from tests.tables import given

NETWORKS = [network_named(f"mobilenet_v2:resolution={size}") for size in (96, 128, 160, 192, 224)]


def network_of(sample: Mapping[str, Any]) -> Network:
    return network_named(f"mobilenet_v2:resolution={sample['resolution']}")


def test_a_profiler_tells_the_latency_of_a_sample() -> None:
    table = given.table_of(*NETWORKS)
    profiler = NniProfiler(table, network_of)
    assert profiler.profile({"resolution": 160}) == table.predict(NETWORKS[2]).latency_ms
    with pytest.raises(MissingBlock):
        profiler.profile({"resolution": 64})


def test_a_calibrated_table_answers_queries_in_the_form_of_its_calibration() -> None:
    bare = given.table_of(*NETWORKS)
    doubled = [Calibrated.of(one, 3 + 2 * sum(bare.by_key[key].warm_ms for key in keys_of(one))) for one in NETWORKS]
    table = replace(bare, calibration=calibrate(bare, doubled))
    row = table.rows[1]
    assert row.block is not None
    name = name_for(row.block, row.inputs, "proxylessnas")
    assert name == "expanded_conv-input:48x48x32-output:48x48x16-expand:1-kernel:3-stride:1-idskip:0"
    estimator = OfaLatencyTable(table)
    asked_ms = estimator.query("expanded_conv", (48, 48, 32), (48, 48, 16), expand=1, ks=3, stride=1, id_skip=0)
    assert asked_ms == pytest.approx(2 * row.warm_ms)
