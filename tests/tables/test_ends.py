"""Networks from the ends of a space, beside random ones."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from harness.networks.catalogue import space_named
from harness.networks.network import Network
from harness.tables.ends import ends_of
from harness.tables.listing import networks_of, networks_to_calibrate
from tests.search.spaces import every, small


def of_weights(networks: list[Network]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([network.costs.weights / network.costs.mult_adds for network in networks])


def test_they_reach_further_than_random_ones() -> None:
    space = space_named("mnasnet")
    known = networks_of(space, 12)
    found = ends_of(space, 8, known, 0)
    assert len({network.sha256 for network in [*known, *found]}) == 20
    generator = random.Random(1)
    many = of_weights([space.network(space.sample(generator)) for _ in range(200)])
    assert of_weights(found).max() > 1.3 * many.max()
    assert of_weights(found).min() < many.min()
    assert [network.name for network in ends_of(space, 8, known, 0)] == [network.name for network in found]


def test_what_a_table_is_judged_by_stays_random() -> None:
    space = space_named("mnasnet")
    found = networks_to_calibrate(space, 20, 5)
    assert [network.sha256 for network in found[20:]] == [network.sha256 for network in networks_of(space, 25)[20:]]
    assert [network.sha256 for network in found[:12]] == [network.sha256 for network in networks_of(space, 12)]
    assert len({network.sha256 for network in found}) == 25


def test_a_space_without_more_networks_gives_none(tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    assert ends_of(space, 3, [space.network(tokens) for tokens in every(space)], 0) == []
    assert len(networks_to_calibrate(space, 5, 2)) == 7
