"""Candidates measured on a real board: an SSH server with a lease of its own on this machine."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.convert.converter import prepare_tflite
from harness.convert.direct import DirectPrecision
from harness.convert.model import Model
from harness.measure.store import Store
from harness.networks.network import Network
from harness.networks.space import Tokens
from harness.rewards import Weighted
from harness.search import live
from harness.search.live import LiveLatency
from harness.search.run import search
from harness.tables.listing import network_model
from tests.cli import tiny_models
from tests.devices.netns import allowed
from tests.devices.sshd import Sshd, inventory
from tests.search.spaces import small

on_a_board = pytest.mark.skipif(not allowed(), reason="a board with a /tmp of its own takes root: these tests run where root runs them")


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    board = Sshd(folder / "board", own_tmp=True)
    path = tmp_path / "devices.toml"
    path.write_text(inventory(replace(board.device, runtime="ai-edge-litert", python=sys.executable)))
    yield path
    board.stop()
    shutil.rmtree(folder)


class Listed:
    """Asks for given candidates."""

    def __init__(self, asked: list[Tokens]) -> None:
        self._asked = asked

    def ask(self, count: int) -> list[Tokens]:
        del count
        return self._asked

    def tell(self, trials: object) -> None:
        pass


@on_a_board
def test_candidates_are_measured_once_and_one_that_cannot_run_has_failed(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = small("stages", tmp_path)
    tiny, large, broken = (0, 0, 0, 0, 0, 0), (1, 2, 1, 2, 2, 0), (1, 0, 0, 0, 0, 0)
    (tmp_path / "broken.tflite").write_bytes(tiny_models.crashing())
    crashing = replace(prepare_tflite(tmp_path / "broken.tflite", "broken", {}), expected=None)

    def model(network: Network, precision: DirectPrecision) -> Model:
        return crashing if network.name == space.network(broken).name else network_model(network, precision)

    monkeypatch.setattr(live, "network_model", model)
    monkeypatch.setattr(live, "NETWORK_PASSES", 3)
    with LiveLatency(space, inventory=listed) as latency:
        strategy = Listed([tiny, large, tiny, broken])
        found = search(strategy, lambda _: 0.5, [latency], Weighted({"latency_ms": 1.0}), trials=4, batch=4)
        again = latency.of(np.array([large, tiny]))
    assert found[0].used == found[2].used
    assert 0 < found[0].used["latency_ms"] < found[1].used["latency_ms"]
    assert found[1].intervals["latency_ms"][0] < found[1].used["latency_ms"] < found[1].intervals["latency_ms"][1]
    assert (found[3].reward, found[3].failure) == (None, "no latency_ms: it could not be measured")
    assert again.values.tolist() == [found[1].used["latency_ms"], found[0].used["latency_ms"]]
    with Store.open(tmp_path / "results") as store:
        assert sorted(row.outcome for row in store.rows()) == ["failed", "measured", "measured"]
