"""Tables built on a real board: an SSH server with a lease of its own on this machine."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.convert.converter import prepare_tflite
from harness.devices.inventory import load_inventory
from harness.errors import ConfigError
from harness.measure.batch import BLOCKS
from harness.measure.result import Progress
from harness.measure.rig import Rig
from harness.measure.store import Store
from harness.networks.blocks import Conv
from harness.networks.catalogue import space_named
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.networks.space import Space
from harness.networks.space_file import read_space
from harness.report.table_plot import plot_validation
from harness.tables import build as building
from harness.tables import validate as validating
from harness.tables.build import build
from harness.tables.forms import FORMS
from harness.tables.listing import blocks_of_networks, blocks_of_space, models_of
from harness.tables.passes import Passes
from harness.tables.table import LatencyTable
from harness.tables.validate import validate
from tests.cli import tiny_models
from tests.devices.netns import allowed
from tests.devices.sshd import Sshd, inventory
from tests.models import sigmoids

SPACE = """
title = "a few blocks"
input = [64, 64, 3]
stem = [{type = "conv", filters = 16, kernel = 3, stride = 2, activation = "relu"}]
stages = [{filters = [16, 24], layers = [1, 2]}, {filters = [24], layers = [1, 2], stride = 2}]
head = [{type = "global_pool"}, {type = "dropout", rate = 0.2}, {type = "dense", units = 10, activation = "softmax"}]

[choices]
kernel = [3, 5]
skip = ["identity", "none"]

[fixed]
type = "conv"
activation = "relu"
"""
on_a_board = pytest.mark.skipif(not allowed(), reason="a board with a /tmp of its own takes root: these tests run where root runs them")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    file = tmp_path_factory.mktemp("space") / "few.toml"
    file.write_text(SPACE)
    return read_space(file)


@pytest.fixture(scope="module")
def board() -> Iterator[Sshd]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    started = Sshd(folder / "board", own_tmp=True)
    yield started
    started.stop()
    shutil.rmtree(folder)


@pytest.fixture
def listed(board: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, count in (("WARM_PASSES", 3), ("COLD_PASSES", 1), ("NETWORK_PASSES", 3)):
        monkeypatch.setattr(building, name, count)
    monkeypatch.setattr(validating, "PASSES", 3)
    path = tmp_path / "devices.toml"
    path.write_text(inventory(replace(board.device, runtime="ai-edge-litert", python=sys.executable)))
    return path


def test_blocks_that_compute_the_same_are_measured_once(space: Space) -> None:
    blocks = blocks_of_space(space)
    models = models_of(blocks, "float32")
    keys = [key for one in models for key in one.keys]
    assert len(keys) == len(set(keys))
    assert len(keys) == len(blocks) > len(models) == len({one.model.sha256 for one in models})
    assert any({"conv-f24-k3-relu@32x32x16", "conv-f24-k3-relu-identity@32x32x16"} <= set(one.keys) for one in models)


def test_blocks_of_networks_are_listed_without_what_takes_no_time() -> None:
    network = network_named("mobilenet_v2:width=0.1,resolution=64")
    keys = {key for one in models_of(blocks_of_networks([network, network]), "int8") for key in one.keys}
    assert keys < set(network.block_keys)
    assert not [key for key in keys if key.startswith("dropout")]


def test_a_space_whose_blocks_cannot_be_listed_says_so() -> None:
    with pytest.raises(ConfigError, match="zoph_le has too many blocks"):
        blocks_of_space(space_named("zoph_le"))


@pytest.mark.long
@on_a_board
def test_a_table_is_built_though_it_is_cut_short(space: Space, listed: Path, tmp_path: Path) -> None:
    how = {"calibration": 5, "held_out": 3, "inventory": listed}

    def cut(now: Progress) -> None:
        if now.done > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(space, tmp_path / "t.json", progress=cut, **how)  # type: ignore[arg-type]
    assert not (tmp_path / "t.json").exists()
    table = build(space, tmp_path / "t.json", **how)  # type: ignore[arg-type]
    assert {row.key for row in table.rows} == {key for one in models_of(blocks_of_space(space), "float32") for key in one.keys}
    assert all(row.warm_ms > 0 and row.cold_ms is not None and row.interval_ms is not None for row in table.rows)
    assert {row.processes for row in table.rows} == {3}
    assert (table.origin.device, table.origin.space, table.origin.precision) == ("board", "few", "float32")
    assert table.calibration is not None
    assert len(table.calibration.networks) == 5
    assert table.held_out is not None
    assert table.held_out.networks == 3
    assert LatencyTable.load(tmp_path / "t.json") == table
    found = validate(table, space, networks=2, inventory=listed)
    assert [one.name.split("/")[0] for one in found.networks] == ["space:few"] * 2
    assert found.error.networks == 2
    assert (found.off is None) == (abs(found.error.bias) <= max(0.05, table.held_out.mape))
    assert plot_validation(found, tmp_path / "v.svg").stat().st_size > 5000
    with pytest.raises(ConfigError, match="no longer fits board: cores 0 and 1"):
        validate(replace(table, origin=replace(table.origin, cores=(0,))), space, networks=2, inventory=listed)
    ids = {number for row in table.rows for number in row.measurement_ids} | {one.measurement_id for one in table.calibration.networks}
    with Store.open(tmp_path / "results") as store:
        rows = [row for row in store.rows() if row.id in ids]
        taken = Counter(len(store.repetitions(row.id)) for row in rows)
    models = len(models_of(blocks_of_space(space), "float32"))
    assert {row.outcome for row in rows} == {"measured"}
    assert taken == {3: models + 5, 1: models}


@pytest.mark.long
@on_a_board
def test_several_devices_build_in_the_time_they_have(space: Space, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listed.open("a") as file:
        file.write('\n[devices.absent]\ntransport = "ssh"\nhost = "127.0.0.1"\nuser = "nobody"\nport = 9\n')
    (tmp_path / "few.toml").write_text(SPACE)
    monkeypatch.setenv("HARNESS_DEVICES", str(listed))
    how = ("--max-time", "8", "--chains", "--calibration", "5", "--held-out", "0", "--json")
    done = CliRunner().invoke(cli, ["table", "build", str(tmp_path / "few.toml"), "--device", "board", "--device", "absent", *how])
    assert done.exit_code == 1
    assert "error: absent" in done.stderr
    path = tmp_path / "results" / "tables" / "few-board-float32.json"
    table = LatencyTable.load(path)
    assert json.loads(done.stdout) == {"board": json.loads(path.read_text())}
    assert {row.key for row in table.rows} == {key for one in models_of(blocks_of_space(space), "float32") for key in one.keys}
    assert all(row.chain_ms is not None and len(row.measurement_ids) == 3 for row in table.rows)
    assert table.calibration is not None
    assert {score.form for score in table.calibration.scores if score.mape is not None} == set(FORMS)

    of_space = space.network(space.sample(random.Random(0))).blocks
    other = Network("other", (64, 64, 3), (*of_space[:-3], Conv(24, (3, 3)), Conv(24, (3, 3), activation="relu6"), *of_space[-3:]))
    (tmp_path / "other.toml").write_text(other.to_toml())
    asked = ["table", "predict", str(path), str(tmp_path / "other.toml"), "--json"]
    assert "--complete" in CliRunner().invoke(cli, asked).stderr
    done = CliRunner().invoke(cli, [*asked, "--complete"])
    assert done.exit_code == 0, done.stderr
    completed = LatencyTable.load(path)
    assert completed.rows[: len(table.rows)] == table.rows
    assert [(row.processes, row.chain_ms is not None) for row in completed.rows[len(table.rows) :]] == [(3, True)] * 2
    assert completed.calibration == table.calibration
    assert json.loads(done.stdout)[0]["latency_ms"] == completed.predict(other).latency_ms


@on_a_board
def test_a_model_that_breaks_its_process_fails_alone(listed: Path, tmp_path: Path) -> None:
    models = []
    for name, data in (("one", tiny_models.add()), ("bad", tiny_models.crashing()), ("two", sigmoids(2))):
        (tmp_path / f"{name}.tflite").write_bytes(data)
        models.append(replace(prepare_tflite(tmp_path / f"{name}.tflite", name, {}), expected=None))
    with Store.open(tmp_path / "results") as store, Rig(load_inventory(listed).device(), 1, store) as rig:
        passes = Passes(rig, lambda _: None)
        passes.acquire()
        tasks = [passes.task(model, BLOCKS) for model in models]
        passes.take(tasks, lambda _: None)
        assert [(task.failed, len(task.repetitions)) for task in tasks] == [(False, 1), (True, 0), (False, 1)]
        assert [row.outcome for row in store.rows()] == ["unfinished", "failed", "unfinished"]
