"""The least latency of a space, against that of every one of its candidates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.networks.catalogue import space_named
from harness.tables.calibrate import calibrate
from harness.tables.least import least
from harness.tables.table import LatencyTable
from tests.search.spaces import every, small
from tests.tables import given


def predicted(table: LatencyTable, candidates: list[tuple[int, ...]], name: str, folder: Path) -> list[float]:
    found: list[float] = table.predict_tokens(small(name, folder), np.array(candidates)).latency_ms.tolist()
    return found


@pytest.mark.parametrize("name", ["stages", "layers"])
def test_no_candidate_is_predicted_less(name: str, tmp_path: Path) -> None:
    space = small(name, tmp_path)
    table = given.of_space(space)
    found = least(table, space)
    assert found is not None
    latencies_ms = predicted(table, every(space), name, tmp_path)
    assert found[1] == pytest.approx(min(latencies_ms))
    assert predicted(table, [space.checked(found[0])], name, tmp_path) == [pytest.approx(found[1])]


def test_a_form_that_has_a_constant_counts_it() -> None:
    space = space_named("mnasnet")
    bare = given.of_space(space)
    table = replace(bare, calibration=calibrate(bare, given.measured(bare, given.candidates(space, 20), 0.02)))
    found = least(table, space)
    assert found is not None
    assert table.predict(space.network(found[0])).latency_ms == pytest.approx(found[1])


def test_of_a_space_with_skips_it_is_not_known(tmp_path: Path) -> None:
    space = small("skips", tmp_path)
    assert least(given.table_of(space.network((0,) * len(space.positions))), space) is None
