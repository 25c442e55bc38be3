"""A session with a real agent on this machine. Its lease lies in a folder of the test's, so that no other measurement is waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.convert.converter import prepare_tflite
from harness.convert.model import Model
from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.errors import AgentDied, AgentError, DeviceBusy, Offline, TimedOut
from latency_agent.protocol import TimedTask
from tests.agent.live import children, ends, running
from tests.cli import tiny_models
from tests.models import endless

LOCAL = Device("local")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a device that knows no models."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HARNESS_CACHE", str(folder))
    return folder


@pytest.fixture
def session() -> Iterator[Session]:
    with Session.open(LOCAL) as opened:
        yield opened


@contextmanager
def leased(folder: Path) -> Iterator[Session]:
    with Session.open(LOCAL) as opened:
        opened.request("acquire", {"path": str(folder / "lease"), "owner": "tests", "token": "0123456789abcdef"})
        yield opened


@pytest.fixture
def measuring(tmp_path: Path) -> Iterator[Session]:
    with leased(tmp_path) as opened:
        yield opened


def model(folder: Path, data: bytes, name: str = "model") -> Model:
    path = folder / f"{name}.tflite"
    path.write_bytes(data)
    return prepare_tflite(path, name, {})


@pytest.fixture
def add(tmp_path: Path) -> Model:
    return model(tmp_path, tiny_models.add())


def solo(session: Session, given: Model, timeout_s: float = 30) -> None:
    session.solo(given, seed=0, warmup_ns=0, timeout_s=timeout_s)


def test_a_session_knows_its_agent_and_where_it_measures(session: Session) -> None:
    assert session.hello.runtime == "ai-edge-litert"
    assert session.hello.runtime_version
    assert set(session.placement.cores) <= os.sched_getaffinity(0)
    assert session.agent_sha256 in {path.stem.partition("-")[2] for path in Path(os.environ["HARNESS_CACHE"]).glob("agents/*.pyz")}
    assert session.conditions().free_disk_bytes > 0


def test_the_fingerprint_is_that_of_the_device(session: Session) -> None:
    first = session.fingerprint
    with Session.open(LOCAL) as again:
        assert again.fingerprint == first
    session.facts = replace(session.facts, kernel="another")
    assert session.fingerprint != first


def test_settings_do_not_enter_the_fingerprint(session: Session) -> None:
    first = session.fingerprint
    allowed = tuple(replace(core, allowed=not core.allowed) for core in session.facts.cores)
    session.facts = replace(session.facts, cores=allowed)
    assert session.fingerprint == first


def test_a_core_that_may_not_be_used_is_an_error_that_names_the_allowed_ones() -> None:
    allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    with pytest.raises(AgentError, match=f"local: core 4000 may not be used; allowed: {allowed}") as error:
        Session.open(replace(LOCAL, core=4000))
    assert "devices.toml" in error.value.hint


def test_more_threads_than_cores_are_an_error() -> None:
    with pytest.raises(AgentError, match="4000 threads need 4000 cores"):
        Session.open(LOCAL, threads=4000)


def test_an_interpreter_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AgentError, match="not installed") as error:
        Session.open(replace(LOCAL, python="/usr/bin/python3", runtime="tflite-runtime"))
    assert "devices.toml" in error.value.hint


def test_a_session_that_failed_to_open_leaves_no_agent() -> None:
    before = children(os.getpid())
    with pytest.raises(AgentError):
        Session.open(replace(LOCAL, core=4000))
    assert children(os.getpid()) == before
    assert not [thread for thread in threading.enumerate() if thread.name == "local heartbeat"]


def test_nothing_is_measured_without_the_lease(session: Session, add: Model) -> None:
    file = session.push(add)
    task = TimedTask((file,), ((0,),), session.placement.cores, 1, 0, 0, (0,), (1,), (0,), None, 30.0)
    with pytest.raises(DeviceBusy, match="holds no lease"):
        session.timed(task)
    with pytest.raises(DeviceBusy, match="holds no lease"):
        solo(session, add)


def test_a_second_session_waits_and_is_then_told_who_measures() -> None:
    heard: list[str] = []
    with Session.open(LOCAL) as first, Session.open(LOCAL) as second:
        first.acquire(wait_s=120)
        started = time.monotonic()
        with pytest.raises(DeviceBusy, match=r"local: .+@.+ is measuring") as busy:
            second.acquire(wait_s=1.5, waiting=heard.append)
        assert time.monotonic() - started > 1.5
        assert "disturb" in busy.value.hint
        assert len(heard) > 1
        assert "is measuring" in heard[0]


def test_a_second_session_measures_once_the_first_has_closed() -> None:
    with Session.open(LOCAL) as second, Session.open(LOCAL) as first:
        first.acquire(wait_s=120)
        closing = threading.Timer(1.0, first.close)
        closing.start()
        second.acquire(wait_s=30)
        closing.join()


def test_sessions_with_one_token_measure_side_by_side() -> None:
    with Session.open(LOCAL) as first, Session.open(LOCAL) as second:
        first.acquire(token="0123456789abcdef", wait_s=120)
        second.acquire(token="0123456789abcdef", wait_s=0)


def test_a_model_lies_on_the_device_under_its_hash(session: Session, add: Model, cache: Path) -> None:
    file = session.push(add)
    assert file.path == str(cache / f"device/models/{add.sha256}.tflite")
    assert Path(file.path).read_bytes() == add.path.read_bytes()


def test_a_model_is_pushed_once_a_device(session: Session, add: Model) -> None:
    before = Path(session.push(add).path).stat().st_ino
    with Session.open(LOCAL) as again:
        assert Path(again.push(add).path).stat().st_ino == before


def test_changed_bytes_on_the_device_are_replaced(session: Session, add: Model) -> None:
    path = Path(session.push(add).path)
    path.write_bytes(tiny_models.dynamic())
    with Session.open(LOCAL) as again:
        again.push(add)
    assert path.read_bytes() == add.path.read_bytes()


def test_bytes_that_change_within_a_session_are_not_run(measuring: Session, add: Model) -> None:
    path = Path(measuring.push(add).path)
    path.write_bytes(tiny_models.dynamic())
    with pytest.raises(AgentError, match=f"holds .*, not {add.sha256[:12]}"):
        solo(measuring, add)


def test_a_repetition_says_what_it_measured_and_where(measuring: Session, add: Model) -> None:
    file, cores = measuring.push(add), measuring.placement.cores
    task = TimedTask((file, file), ((0,), (1,), (0, 1)), cores, 1, 0, 1_000_000, (0, 5_000_000), (3, 1), (10_000_000, 0), None, 30.0)
    found = measuring.timed(task)
    assert [chunk.model for chunk in found.chunks] == [0, 1, 0, 1]
    assert found.affinity == tuple(sorted(cores))
    assert all(min(chunk.wall_ns) > 0 for chunk in found.chunks)
    assert [len(chunk.discarded_ns) >= 3 for chunk in found.chunks] == [True, False, True, True]
    assert [chunk.start_ns for chunk in found.chunks] == sorted(chunk.start_ns for chunk in found.chunks)
    assert found.before.monotonic_ns < found.chunks[0].start_ns < found.chunks[-1].start_ns < found.after.monotonic_ns


def test_a_cold_repetition_has_single_runs(measuring: Session, add: Model) -> None:
    file = measuring.push(add)
    found = measuring.timed(TimedTask((file,), ((0,),), measuring.placement.cores, 1, 0, 0, (0,), (4,), (0,), 1 << 20, 30.0))
    assert found.chunks[0].repeats == 1
    assert len(found.chunks[0].wall_ns) == 4


def test_a_solo_repetition_gives_what_only_a_fresh_process_can(measuring: Session, add: Model) -> None:
    found = measuring.solo(add, seed=0, warmup_ns=1_000_000, timeout_s=30)
    assert found.init_ns > 0
    assert found.first_ns > 0
    assert found.peak_memory_bytes > 0
    assert (found.delegated_nodes, found.total_nodes) == (1, 1)
    assert [(output.dtype, output.shape) for output in found.outputs] == [("float32", (1, 8))]
    assert len(found.warmup_ns) >= 3


def test_a_crash_in_the_runtime_is_told_with_its_last_words(measuring: Session, tmp_path: Path, add: Model) -> None:
    with pytest.raises(AgentDied, match="SIGFPE") as died:
        solo(measuring, model(tmp_path, tiny_models.crashing(), "crashing"))
    assert "XNNPACK" in died.value.stderr_tail
    solo(measuring, add)


def test_a_hang_is_told_at_its_deadline(measuring: Session, tmp_path: Path, add: Model) -> None:
    with pytest.raises(TimedOut, match="did not end within 2 s") as hung:
        solo(measuring, model(tmp_path, endless(), "endless"), timeout_s=2)
    assert "--max-time" in hung.value.hint
    solo(measuring, add)


def test_the_death_of_the_agent_is_noticed_at_once(measuring: Session, tmp_path: Path) -> None:
    pid = measuring.hello.pid
    killer = threading.Timer(1.5, os.kill, (pid, 9))
    killer.start()
    started = time.monotonic()
    with pytest.raises(AgentDied, match="SIGKILL"):
        solo(measuring, model(tmp_path, endless(), "endless"))
    assert time.monotonic() - started < 10
    killer.join()
    assert not measuring.alive()


def test_a_closed_session_leaves_neither_agent_nor_worker_nor_lease(tmp_path: Path) -> None:
    given = model(tmp_path, endless(), "endless")
    with leased(tmp_path) as session:
        pid = session.hello.pid
        failed: list[BaseException] = []

        def measure() -> None:
            try:
                solo(session, given)
            except AgentDied as error:
                failed.append(error)

        thread = threading.Thread(target=measure)
        thread.start()
        deadline = time.monotonic() + 20
        while not (workers := children(pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    thread.join(10)
    assert failed
    assert not running(pid)
    assert all(ends(worker) for worker in workers)
    assert not (tmp_path / "lease").exists()


def test_an_agent_that_answers_is_alive(session: Session) -> None:
    assert session.alive()


def test_a_device_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(Offline, match="board: cannot reach 127"):
        Session.open(Device("board", transport="ssh", host="127.0.0.1", port=9))
