"""Networks such as a search would find by a table, beside random ones."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import MissingBlock
from harness.networks.catalogue import space_named
from harness.networks.network import Network
from harness.tables.sought import sought_in
from harness.tables.table import LatencyTable
from tests.search.spaces import small
from tests.tables import given


@pytest.mark.long
def test_they_are_where_a_table_errs_in_their_favour_at_any_latency() -> None:
    space = space_named("mnasnet")
    true = given.of_space(space)
    generator = random.Random(1)
    rows = tuple(replace(row, warm_ms=row.warm_ms * generator.lognormvariate(0, 0.1)) for row in true.rows)
    table = LatencyTable(true.origin, rows)

    def errors(networks: list[Network]) -> list[float]:
        return [table.predict(network).latency_ms / true.predict(network).latency_ms - 1 for network in networks]

    found = sought_in(space, table, 6, 0)
    assert len({network.sha256 for network in found}) == 6
    many = [space.network(space.sample(generator)) for _ in range(100)]
    assert np.mean(errors(found)) < -0.03
    assert abs(np.mean(errors(many))) < 0.02
    latencies_ms = sorted(table.predict(network).latency_ms for network in found)
    low, high = np.quantile([table.predict(network).latency_ms for network in many], (0.2, 0.8))
    assert latencies_ms[0] < low < high < latencies_ms[-1]
    assert [network.sha256 for network in sought_in(space, table, 6, 0)] == [network.sha256 for network in found]


def test_a_table_that_lacks_a_block_finds_none(tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    table = given.of_space(space)
    with pytest.raises(MissingBlock):
        sought_in(space, LatencyTable(table.origin, table.rows[:-1]), 2, 0)
