"""A whole arm64 board under emulation, from setup to a throttled benchmark and a link that is cut: minutes, run by `make test-board`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.devices.setup import Setup, set_up
from harness.devices.ssh import SshTransport
from harness.measure import plan
from harness.measure.benchmark import bench
from harness.measure.result import FailedResult, Progress, Result
from harness.measure.store import Store
from tests.board.board import BIG, Board
from tests.cli import tiny_models
from tests.devices.sshd import inventory as inventory_of


@pytest.fixture(scope="module")
def litert(board: Board) -> Setup:
    return set_up(board.device)


@pytest.fixture(scope="module")
def tflite(board: Board) -> Setup:
    return set_up(replace(board.device, runtime="tflite-runtime"))


@pytest.fixture
def inventory(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return the inventory of the board with a runtime. An emulated core takes long for a run: a benchmark has few of them."""
    for name, value in (("LEAST_REPETITIONS", 2), ("MOST_FLAWED", 1), ("CANDIDATE_CHUNKS", 1), ("REFERENCE_CHUNK_RUNS", 1)):
        monkeypatch.setattr(plan, name, value)
    monkeypatch.setattr(plan, "REFERENCE_CHUNK_NS", 0)
    (tmp_path / "add.tflite").write_bytes(tiny_models.add())

    def write(runtime: str) -> Path:
        path = tmp_path / "devices.toml"
        path.write_text(inventory_of(replace(board.device, runtime=runtime, become="env", temperature_limit_c=75.0)))
        return path

    return write


def measured(inventory: Path, progress: Callable[[Progress], None] | None = None) -> Result | FailedResult:
    (outcome,) = bench(inventory.parent / "add.tflite", interval=0.9, max_time_s=300, fresh=True, inventory=inventory, progress=progress)
    return outcome


def governors(board: Board) -> list[str]:
    return said(board.device, "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor").split()


def said(device: Device, script: str) -> str:
    transport = SshTransport(device)
    try:
        return transport.run(["sh", "-c", script], time.monotonic() + 60).stdout.decode()
    finally:
        transport.close()


def test_the_runtime_of_a_new_board_is_found(litert: Setup) -> None:
    assert (litert.machine, litert.runtime) == ("aarch64", "ai-edge-litert")
    delegated, total = litert.delegated_nodes.split("/")
    assert delegated == total


@pytest.mark.usefixtures("litert")
def test_what_a_board_is_comes_from_itself(board: Board) -> None:
    with Session.open(board.device) as session:
        assert len({core.capacity for core in session.facts.cores}) == 2
        assert session.placement.chosen_by == "largest cpu_capacity"
        assert session.placement.cores == (BIG[-1],)
        assert session.conditions().temperature_c == pytest.approx(board.temperature_c, abs=1)


@pytest.mark.parametrize("runtime", ["ai-edge-litert", "tflite-runtime"])
def test_a_model_is_measured_with_the_governor_set_and_put_back(
    board: Board, litert: Setup, tflite: Setup, inventory: Callable[[str], Path], runtime: str
) -> None:
    assert (litert.runtime, tflite.runtime) == ("ai-edge-litert", "tflite-runtime")
    before = governors(board)
    seen: list[str] = []

    def look(now: Progress) -> None:
        if now.phase == "measuring" and now.repetitions == 1 and not seen:
            seen.extend(governors(board))

    outcome = measured(inventory(runtime), look)
    assert isinstance(outcome, Result)
    assert (outcome.runtime, outcome.core) == (runtime, BIG[-1])
    assert seen[BIG[-1]] == "performance"
    assert governors(board) == before
    assert "performance" not in before


@pytest.mark.usefixtures("litert")
def test_a_board_that_throttles_is_noticed_cooled_and_measured_again(
    board: Board, inventory: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def heat(now: Progress) -> None:
        seen.append((now.phase, now.repetitions))
        if seen[-1] == ("measuring", 1) and seen.count(("measuring", 1)) == 2:  # its temperature was looked at: it is under way
            board.temperature_c = 92.0
        if now.phase == "cooling":
            board.temperature_c = 50.0

    path = inventory("ai-edge-litert")
    monkeypatch.setattr(plan, "LEAST_REPETITIONS", 3)
    monkeypatch.setattr(plan, "MOST_FLAWED", 3)  # emulation has ups and downs of its own
    try:
        outcome = measured(path, heat)
    finally:
        board.temperature_c = 45.0
    assert isinstance(outcome, Result)
    assert ("cooling", 2) in seen
    with Store.open(tmp_path / "results") as store:
        repetitions = [one.data for one in store.measurement(1).repetitions]
    held_back = [bool(one.after.cooling_state) for one in repetitions]
    assert held_back == [False, True, *[False] * (len(repetitions) - 2)]
    khz = [one.chunks[-1].frequency_khz or 0 for one in repetitions]
    assert khz[1] < khz[0] == khz[2]


@pytest.mark.usefixtures("litert")
def test_a_link_that_is_cut_is_waited_for(board: Board, inventory: Callable[[str], Path], tmp_path: Path) -> None:
    phases: list[str] = []

    def cut(now: Progress) -> None:
        if now.phase == "measuring" and now.repetitions == 1 and "waiting" not in phases:
            board.link(up=False)
        if now.phase == "waiting":
            board.link(up=True)
        phases.append(now.phase)

    outcome = measured(inventory("ai-edge-litert"), cut)
    assert isinstance(outcome, Result)
    with Store.open(tmp_path / "results") as store:
        repetitions = store.measurement(1).repetitions
    assert len({one.session for one in repetitions}) == 2
    assert len({one.taken_at for one in repetitions}) == len(repetitions)


@pytest.mark.usefixtures("litert")
def test_a_clock_that_jumps_changes_nothing(board: Board, inventory: Callable[[str], Path], tmp_path: Path) -> None:
    root = replace(board.device, user="root")
    now_s = int(said(root, "date +%s"))

    def jump(now: Progress) -> None:
        if now.phase == "measuring" and now.repetitions == 1:
            said(root, f"date -s @{now_s - 86_400}")

    began = datetime.now(UTC)
    try:
        assert isinstance(measured(inventory("ai-edge-litert"), jump), Result)
        assert int(said(root, "date +%s")) < now_s
    finally:
        said(root, f"date -s @{now_s}")
    with Store.open(tmp_path / "results") as store:
        repetitions = store.measurement(1).repetitions
    assert len({one.session for one in repetitions}) == 1
    assert all(began <= one.taken_at <= datetime.now(UTC) for one in repetitions)


@pytest.mark.usefixtures("litert")
def test_a_board_that_loses_its_power_is_waited_for(board: Board, inventory: Callable[[str], Path]) -> None:
    harmed = False

    def restart(now: Progress) -> None:
        nonlocal harmed
        if now.phase == "measuring" and now.repetitions == 1 and not harmed:
            harmed = True
            board.stop()
        if now.phase == "waiting" and harmed and not board.running:
            board.start()

    outcome = measured(inventory("ai-edge-litert"), restart)
    assert isinstance(outcome, FailedResult)  # this board's disk is its memory: what was set up is gone
    assert "is not set up" in outcome.error
