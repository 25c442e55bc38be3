"""Searches on a real Ray cluster of several processes on this machine, which a worker joined as another host would."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.errors import ConfigError, TrainingFailed
from harness.measure.store import Store
from harness.networks.space import Tokens
from harness.rewards import Weighted
from harness.search.on_ray import OnRay, join, load_ray
from harness.search.ray_devices import RayLatency, There
from harness.search.resources import MultAdds
from harness.search.run import Quality, search
from harness.search.strategies import RandomSearch
from tests.devices.netns import allowed
from tests.devices.sshd import Sshd, inventory
from tests.search.spaces import small

on_a_board = pytest.mark.skipif(not allowed(), reason="a board with a /tmp of its own takes root: these tests run where root runs them")
pytestmark = pytest.mark.long
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def made_quality() -> Quality:
    def quality(tokens: Tokens) -> float:
        if tokens == (1, 0, 0, 0, 0, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if tokens == (0, 1, 0, 0, 0, 0):
            raise TrainingFailed("its loss is nan after epoch 1")
        return 0.5 + sum(tokens) / 100

    return quality


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[str]:
    """Start a head with one processor, and have a worker join it that has another one and the device."""
    port = next(port for port in range(26379, 26479) if not reached(f"127.0.0.1:{port}"))  # below those that Ray draws for itself
    address = f"127.0.0.1:{port}"
    head = [*RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    harness = [str(Path(sys.executable).parent / "harness"), "worker", "--address", address, "--cpus", "1"]
    listed = folder / "devices.toml"
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}  # Ray listens on all interfaces
    environment = {**os.environ, **secret}
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in secret.items():
            patch.setenv(name, value)
        started = subprocess.Popen([*head, f"--temp-dir={folder / 'ray'}"], **quiet)  # type: ignore[call-overload]  # as it takes them
        stack.callback(ended, started)
        if allowed():
            board = Sshd(folder / "board", own_tmp=True)
            stack.callback(board.stop)
            listed.write_text(inventory(replace(board.device, runtime="ai-edge-litert", python=sys.executable)))
        else:
            listed.write_text('default = "local"\n[devices.local]\ntransport = "local"\n')
        until = time.monotonic() + 180
        while not reached(address):
            assert time.monotonic() < until
            time.sleep(0.2)
        stack.callback(ended, subprocess.Popen([*harness, "--inventory", str(listed)], **quiet))  # type: ignore[call-overload]  # as above
        join(address)
        ray = load_ray()
        stack.callback(ray.shutdown)
        while sum(node["Alive"] for node in ray.nodes()) < 2:
            assert time.monotonic() < until
            time.sleep(0.2)
        yield address


def reached(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def ended(process: subprocess.Popen[bytes]) -> None:
    """End a process of Ray's with all that it started."""
    process.terminate()
    try:
        process.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_search_on_a_cluster_is_the_one_without_it(cluster: str, tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    reward = Weighted({"mult_adds": 1e5})

    def sound(tokens: Tokens) -> float:
        return 0.5 + sum(tokens) / 100

    here = search(RandomSearch(space), sound, [MultAdds(space)], reward, trials=24, batch=8)
    there = OnRay(made_quality, cluster)
    found = search(RandomSearch(space), there, [MultAdds(space)], reward, trials=24, batch=8, log=tmp_path / "log")
    odd = {(1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0)}
    assert [trial for trial in found if trial.tokens not in odd] == [trial for trial in here if trial.tokens not in odd]
    assert search(RandomSearch(space), sound, [MultAdds(space)], reward, trials=24, batch=8, log=tmp_path / "log") == found


def test_a_cluster_of_this_machine_alone_listens_on_it_alone(folder: Path) -> None:
    said = """
import subprocess
from harness.search.on_ray import join

def listening():
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3] for line in lines if '"raylet"' in line or '"gcs_server"' in line}

before = listening()
join("local", cpus=1)
print("\\n".join(listening() - before))
"""
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
    environment["RAY_TMPDIR"] = str(folder)  # the path of a socket has 107 bytes at most, and $TMPDIR may be a long one
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    addresses = {line.rpartition(":")[0] for line in done.stdout.split()}
    assert addresses
    assert addresses <= {"127.0.0.1", "[::ffff:127.0.0.1]"}


def test_a_child_whose_process_dies_has_failed(cluster: str) -> None:
    quality = OnRay(made_quality, cluster)
    found = dict(quality.each([(1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0)]))
    assert found[0, 0, 1, 0, 0, 0] == 0.51
    assert "was killed" in str(found[1, 0, 0, 0, 0, 0])
    assert "loss is nan" in str(found[0, 1, 0, 0, 0, 0])


@on_a_board
def test_what_a_host_measured_is_in_the_store_of_the_search(cluster: str, tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    with Store.open(tmp_path / "results") as store:
        latency = RayLatency(There(space, "board", "float32", 1, None), store, cluster)
        found = search(RandomSearch(space), lambda _: 0.5, [latency], Weighted({"latency_ms": 0.1}), trials=2, batch=2)
        rows = list(store.rows())
        assert [row.outcome for row in rows] == ["measured"] * len({trial.tokens for trial in found})
        assert {row.provenance.model for row in rows} == {space.network(trial.tokens).name for trial in found}
        assert all(store.repetitions(row.id) for row in rows)
    assert all(0 < trial.used["latency_ms"] < 10 for trial in found)


def test_what_no_host_has_is_one_error(cluster: str, tmp_path: Path) -> None:
    space = small("stages", tmp_path)
    with Store.open(tmp_path / "results") as store, pytest.raises(ConfigError, match="no host of the Ray cluster has pixel9"):
        RayLatency(There(space, "pixel9", "float32", 1, None), store, cluster)
    with pytest.raises(ConfigError, match="no host of the Ray cluster has 64 CPU"):
        OnRay(made_quality, cluster, cpus=64)


def test_a_cluster_that_is_not_there_is_one_error() -> None:
    argv = [sys.executable, "-c", "from harness.search.on_ray import join; join('127.0.0.1:9')"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert "ConfigError: no Ray cluster at 127.0.0.1:9" in done.stderr


def test_a_worker_needs_devices_that_are_listed(tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text('default = "local"\n[devices.local]\ntransport = "local"\n')
    found = CliRunner().invoke(
        cli, ["worker", "--address", "127.0.0.1:9", "--device", "pi4", "--inventory", str(tmp_path / "devices.toml")]
    )
    assert found.exit_code == 1
    assert "pi4" in found.stderr
