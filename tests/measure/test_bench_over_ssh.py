"""Benchmarks of a board over a real SSH server, the link and the agent lost under way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.measure import rig
from harness.measure.benchmark import bench
from harness.measure.compare import compare
from harness.measure.result import FailedResult, Progress, Result
from harness.measure.store import Store
from tests.cli import tiny_models
from tests.devices.sshd import Sshd, inventory
from tests.measure.quick import shorten
from tests.models import sigmoids


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    started = Sshd(tmp_path / "board")
    (tmp_path / "devices.toml").write_text(inventory(replace(started.device, runtime="ai-edge-litert", python=sys.executable)))
    (tmp_path / "add.tflite").write_bytes(tiny_models.add())
    yield started
    started.stop()


def agents(sshd: Sshd) -> list[str]:
    """Return the processes of the agent on the board."""
    found = subprocess.run(["pgrep", "-f", f"{sshd.home}/.*latency_agent"], check=False, capture_output=True, text=True)
    return found.stdout.split()


def measured(folder: Path, progress: Callable[[Progress], None] | None = None) -> Result | FailedResult:
    (outcome,) = bench(folder / "add.tflite", interval=0.5, max_time_s=30, inventory=folder / "devices.toml", progress=progress)
    return outcome


class Harm:
    """Does something once, when the second repetition is under way."""

    def __init__(self, harm: Callable[[], object]) -> None:
        self._harm = harm
        self.done = False

    def __call__(self, now: Progress) -> None:
        if now.phase == "measuring" and now.repetitions == 1 and not self.done:
            self.done = True
            self._harm()


def test_a_board_is_measured_as_this_machine_is(sshd: Sshd, tmp_path: Path) -> None:
    outcome = measured(tmp_path)
    assert isinstance(outcome, Result)
    assert (outcome.device, outcome.processes >= 2) == ("board", True)
    assert agents(sshd) == []
    assert len(list((sshd.home / ".latency-harness" / "models").iterdir())) == 3


@pytest.mark.parametrize("fault", ["link", "agent", "worker"])
def test_what_is_lost_under_way_is_measured_again(sshd: Sshd, tmp_path: Path, fault: str) -> None:
    harms: dict[str, Callable[[], object]] = {
        "link": sshd.kill_sessions,
        "agent": lambda: subprocess.run(["pkill", "-9", "-f", f"{sshd.home}/.*latency_agent.* serve"], check=True),
        "worker": lambda: subprocess.run(["pkill", "-9", "-f", f"{sshd.home}/.*latency_agent"], check=True),
    }
    harm = Harm(harms[fault])
    outcome = measured(tmp_path, harm)
    assert harm.done
    assert isinstance(outcome, Result)
    with Store.open(tmp_path / "results") as store:
        repetitions = store.measurement(1).repetitions
    assert len({repetition.taken_at for repetition in repetitions}) == len(repetitions) == outcome.processes
    assert len({repetition.session for repetition in repetitions}) == 2
    deadline = time.monotonic() + 5
    while agents(sshd) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert agents(sshd) == []


def test_a_comparison_goes_on_with_a_board_that_was_lost(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "sigmoids.tflite").write_bytes(sigmoids(1))
    harm = Harm(sshd.kill_sessions)
    models = (tmp_path / "add.tflite", tmp_path / "sigmoids.tflite")
    found = compare(*models, processes=3, inventory=tmp_path / "devices.toml", progress=harm)
    assert harm.done
    with Store.open(tmp_path / "results") as store:
        repetitions = store.measurement(1).repetitions
    assert 3 <= found.processes <= len(repetitions) == len({repetition.taken_at for repetition in repetitions})
    assert len({repetition.session for repetition in repetitions}) == 2


def test_a_board_that_comes_back_late_is_waited_for(sshd: Sshd, tmp_path: Path) -> None:
    harm = Harm(sshd.stop)
    waited = 0

    def progress(now: Progress) -> None:
        nonlocal waited
        harm(now)
        waited += harm.done and now.phase == "waiting"
        if waited == 2 and now.phase == "waiting":  # once it was there in vain
            sshd.start()

    assert isinstance(measured(tmp_path, progress), Result)
    assert waited >= 2


def test_a_board_that_does_not_come_back_ends_the_run_and_nothing_is_lost(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig, "RETURN_LIMIT_S", 0.0)
    outcome = measured(tmp_path, Harm(sshd.stop))
    assert isinstance(outcome, FailedResult)
    assert "cannot reach" in outcome.error
    sshd.start()
    again = measured(tmp_path)
    assert isinstance(again, Result)
    with Store.open(tmp_path / "results") as store:
        assert len({repetition.session for repetition in store.measurement(1).repetitions}) == 2
