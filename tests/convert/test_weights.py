from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.networks.blocks import Conv, GlobalPool
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.networks.network import Network, Training
from harness.networks.weights import spread
from latency_agent import protocol


@pytest.mark.parametrize("name", ["mobilenet_v3_small:resolution=64", "mnasnet_b1:width=0.35,resolution=64", "lenet_5"])
def test_probabilities_are_neither_flat_nor_a_single_one(keras: Any, name: str) -> None:
    assert keras is not None
    network = network_named(name)
    model = build_keras(network)
    spread(model)
    (found,) = model(protocol.seeded_input((1, *network.input), "float32", 0), training=False).numpy()
    assert 1.5 / len(found) < found.max() < 0.9
    assert np.count_nonzero(found > 1e-6) > len(found) / 2


def test_a_network_may_end_in_any_convolution_or_have_none(keras: Any) -> None:
    assert keras is not None
    for last in (Conv(4, (3, 3), norm=False, activation="relu"), GlobalPool()):
        model = build_keras(Network("mine", (8, 8, 3), (last,), Training()))
        spread(model)
        found = model(protocol.seeded_input((1, 8, 8, 3), "float32", 0), training=False).numpy()
        assert found.std() > 0.01
