from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.networks.named import network_named
from harness.report.latency_tables import held_out_table, latency_table
from harness.report.table_plot import draw_table, plot_table
from harness.tables.calibrate import calibrate
from harness.tables.ofa_yaml import foreign
from harness.tables.table import HeldOut, LatencyTable, Row
from tests.report.test_table import printed
from tests.tables import given

NETWORKS = [network_named(f"mobilenet_v2:resolution={size}") for size in (96, 128, 160, 192, 224)]
BARE = given.table_of(*NETWORKS)
FOREIGN = LatencyTable(foreign("note10"), (Row("Logits-input:7x7x1280-output:1000", None, (), 0.3), Row("Shuffle", None, (), 0.0)))


def test_what_is_unknown_of_a_foreign_table_is_said() -> None:
    text = printed(latency_table(FOREIGN))
    assert text.count("unknown") == 4
    assert "not calibrated" in text
    assert "foreign" in text


def test_what_was_not_judged_is_said() -> None:
    text = printed(held_out_table(HeldOut(3, 1.0, 1.0, 0.0, 0.0, 0.0)))
    for words in ("no intervals", "unknown", "none"):
        assert words in text


def test_no_name_is_cut_at_80_columns() -> None:
    table = replace(BARE, calibration=calibrate(BARE, given.measured(BARE, NETWORKS, 0.02)))
    text = printed(latency_table(table), 80)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_where_networks_spend_their_time_adds_up_to_what_they_take() -> None:
    table = replace(BARE, calibration=calibrate(BARE, given.measured(BARE, NETWORKS, 0.02)))
    _, right = draw_table(table).axes
    mean_ms = sum(table.predict(network).latency_ms for network in NETWORKS) / len(NETWORKS)
    drawn_ms = sum(patch.get_height() for patch in right.patches)  # type: ignore[attr-defined]  # bars are rectangles
    assert drawn_ms == pytest.approx(mean_ms - table.predictor.constant_ms)


def test_resolutions_fall_from_left_to_right() -> None:
    (axes,) = draw_table(BARE).axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[0] == "224x224"
    assert labels[-1] == "flat"
    sides = [int(label.split("x")[0]) for label in labels[:-1]]
    assert sides == sorted(sides, reverse=True)


def test_each_row_is_a_point() -> None:
    (axes,) = draw_table(BARE).axes
    assert sum(np.size(line.get_xdata()) for line in axes.lines) == len(BARE.rows)


@pytest.mark.parametrize("table", [BARE, FOREIGN], ids=["ours", "foreign"])
def test_any_table_is_drawn(table: LatencyTable, tmp_path: Path) -> None:
    assert plot_table(table, tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
