"""The supervisor as the harness meets it: a process of its own, spoken to over its pipes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.devices.provision import archive_bytes
from harness.errors import AgentDied
from latency_agent import protocol
from latency_agent.protocol import ModelFile, SoloTask, TimedTask
from tests.agent.live import Agent, agent, children, ends, running
from tests.cli import tiny_models
from tests.models import endless

NOISY = """
_{function} = {function}


def {function}(*args):
    import os

    os.write(1, b"printed by a library in {function}\\n")
    return _{function}(*args)
"""
OWNER = {"owner": "tests", "token": "0123456789abcdef"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def live(root: Path) -> Iterator[Agent]:
    with agent(root) as opened:
        yield opened


@pytest.fixture
def lease(live: Agent, tmp_path: Path) -> Path:
    path = tmp_path / "lease"
    assert live.ask("acquire", OWNER | {"path": str(path)})["result"]["holder"]
    return path


def model(folder: Path, data: bytes) -> ModelFile:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return ModelFile(hashlib.sha256(data).hexdigest(), str(path))


def solo(file: ModelFile, timeout_s: float = 30.0) -> dict[str, Any]:
    core = max(os.sched_getaffinity(0))
    return dict(protocol.encode(SoloTask(file, cores=(core,), threads=1, seed=0, warmup_ns=0, timeout_s=timeout_s)))


def timed(file: ModelFile) -> dict[str, Any]:
    core = max(os.sched_getaffinity(0))
    task = TimedTask((file,), ((0,), (0,)), (core,), 1, 0, 0, (0,), (1,), (0,), None, 30.0)
    return dict(protocol.encode(task))


def worker_of(pid: int) -> int:
    """Return the process of the repetition that was just asked for."""
    deadline = time.monotonic() + 20
    while not (found := children(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (worker,) = found
    # Until it holds the model: then it will not end by itself.
    while "ai_edge_litert" not in Path(f"/proc/{worker}/maps").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert running(worker)
    return worker


def test_an_unknown_operation_is_refused_and_the_next_answered(live: Agent) -> None:
    assert live.ask("dance")["error"]["kind"] == "UnknownOperation"
    assert live.ask("hello")["result"]["protocol"] == protocol.VERSION


def test_pings_get_no_answer(live: Agent) -> None:
    for _ in range(3):
        live.send("ping")
    live.ask("hello")


def test_requests_are_answered_in_order(live: Agent) -> None:
    asked = [live.send(operation) for operation in ("hello", "slow and unknown", "facts", "hello")]
    assert [live.answer()["id"] for _ in asked] == asked


@pytest.mark.parametrize(("operation", "task"), [("solo", solo), ("timed", timed)])
def test_nothing_is_measured_without_the_lease(
    live: Agent, tmp_path: Path, operation: str, task: Callable[[ModelFile], dict[str, Any]]
) -> None:
    error = live.ask(operation, task(model(tmp_path, tiny_models.add())))["error"]
    assert error["kind"] == "NoLease"
    assert "holds no lease" in error["message"]


def test_nothing_is_measured_once_the_lease_is_lost(live: Agent, lease: Path, tmp_path: Path) -> None:
    lease.unlink()
    task = timed(model(tmp_path, tiny_models.add()))
    deadline = time.monotonic() + 3 * protocol.HEARTBEAT_INTERVAL_S
    while "error" not in (answer := live.ask("timed", task)):
        assert time.monotonic() < deadline
    assert answer["error"]["kind"] == "NoLease"
    assert "lost" in answer["error"]["message"]


def test_a_held_lease_is_busy(live: Agent, lease: Path, root: Path) -> None:
    assert "result" in live.ask("hello")
    with agent(root) as other:
        assert other.ask("acquire", {"path": str(lease), "owner": "other", "token": "another"})["error"]["kind"] == "Busy"


def test_placing_takes_the_agent_itself_off_the_core(live: Agent) -> None:
    pid = live.pid
    (core,) = live.ask("place", {"threads": 1, "core": None})["result"]["cores"]
    allowed = os.sched_getaffinity(0)
    threads = [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    assert len(threads) == 2
    assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset(allowed - {core} or allowed)}


@pytest.mark.usefixtures("lease")
def test_what_the_runtime_prints_does_not_reach_the_wire(live: Agent, tmp_path: Path) -> None:
    # The answer is one line of JSON and the next one is too; what the runtime had to say went with the worker's stderr.
    file = model(tmp_path, tiny_models.crashing())
    tail = live.ask("solo", solo(file))["error"]["stderr_tail"]
    assert "XNNPACK" in tail
    assert "result" in live.ask("solo", solo(model(tmp_path, tiny_models.add())))
    assert "result" in live.ask("hello")


def test_a_native_print_to_stdout_does_not_reach_the_wire(root: Path, tmp_path: Path) -> None:
    package = tmp_path / "latency_agent"
    shutil.copytree(Path(protocol.__file__).parent, package)
    # As a library would: past sys.stdout, in the agent's own process and in its worker.
    for function in ("version", "load"):
        with (package / "runtime.py").open("a") as file:
            file.write(NOISY.format(function=function))
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(archive_bytes(package))
    with agent(root, archive=archive) as live:
        assert "result" in live.ask("hello")
        live.ask("acquire", OWNER | {"path": str(tmp_path / "lease")})
        assert "result" in live.ask("solo", solo(model(tmp_path, tiny_models.add())))
        live.stream.close(time.monotonic() + 10)
        assert "printed by a library in version" in live.stream.stderr_tail()


@pytest.mark.usefixtures("lease")
def test_a_crash_of_the_worker_is_told_and_the_next_one_runs(live: Agent, tmp_path: Path) -> None:
    error = live.ask("solo", solo(model(tmp_path, tiny_models.crashing())))["error"]
    assert error["kind"] == "WorkerDied"
    assert "SIGFPE" in error["message"]
    assert live.ask("solo", solo(model(tmp_path, tiny_models.add())))["result"]["total_nodes"] == 1


@pytest.mark.usefixtures("lease")
def test_a_worker_that_hangs_is_killed_at_its_deadline(live: Agent, tmp_path: Path) -> None:
    pid = live.pid
    live.send("solo", solo(model(tmp_path, endless()), timeout_s=3))
    worker = worker_of(pid)
    error = live.answer()["error"]
    assert error["kind"] == "WorkerHung"
    assert "3 s" in error["message"]
    assert not running(worker)
    assert "result" in live.ask("solo", solo(model(tmp_path, tiny_models.add())))


@pytest.mark.usefixtures("lease")
def test_a_model_whose_bytes_were_changed_is_not_run(live: Agent, tmp_path: Path) -> None:
    file = model(tmp_path, tiny_models.add())
    Path(file.path).write_bytes(tiny_models.dynamic())
    for operation, task in (("solo", solo(file)), ("timed", timed(file))):
        error = live.ask(operation, task)["error"]
        assert error["kind"] == "TamperedModel"
        assert file.sha256[:12] in error["message"]


@pytest.mark.usefixtures("lease")
def test_a_model_that_the_runtime_refuses_is_refused_in_its_words(live: Agent, tmp_path: Path) -> None:
    error = live.ask("solo", solo(model(tmp_path, tiny_models.unresolved_custom_op())))["error"]
    assert error["kind"] == "ModelError"
    assert "NoSuchOp" in error["message"]


def test_room_is_made_under_the_lease_alone(live: Agent, root: Path, tmp_path: Path) -> None:
    (root / "models").mkdir(parents=True)
    (root / "models" / "m.tflite").write_bytes(b"model")
    asked = {"folder": "models", "bytes": 2 << 30, "kept": []}
    assert live.ask("make_room", asked)["error"]["kind"] == "NoLease"
    live.ask("acquire", OWNER | {"path": str(tmp_path / "lease")})
    assert live.ask("make_room", asked)["result"] == {"freed_bytes": 5}


def test_only_the_bytes_of_the_hash_are_there(live: Agent, root: Path) -> None:
    asked = {"name": "m.tflite", "sha256": hashlib.sha256(b"model").hexdigest(), "bytes": 5}
    assert live.ask("has", asked)["result"] == {"path": str(root / "m.tflite"), "present": False, "fits": True}
    (root / "m.tflite").write_bytes(b"model")
    assert live.ask("has", asked)["result"]["present"]
    (root / "m.tflite").write_bytes(b"madel")
    assert not live.ask("has", asked)["result"]["present"]
    assert not live.ask("has", asked | {"bytes": 1 << 50})["result"]["fits"]


def test_what_was_sent_is_adopted_by_its_hash(live: Agent, root: Path) -> None:
    root.mkdir()
    part = root / ".m.tflite.0123"
    asked = {"name": "m.tflite", "sha256": hashlib.sha256(b"model").hexdigest(), "bytes": 5, "part": str(part)}
    part.write_bytes(b"madel")
    assert not live.ask("adopt", asked)["result"]["present"]
    assert not part.exists()
    part.write_bytes(b"model")
    assert live.ask("adopt", asked)["result"] == {"path": str(root / "m.tflite"), "present": True}
    assert (part.exists(), (root / "m.tflite").read_bytes()) == (False, b"model")
    assert not live.ask("adopt", asked)["result"]["present"]


def test_at_eof_the_agent_ends_with_its_worker_and_gives_the_lease_back(live: Agent, lease: Path, tmp_path: Path) -> None:
    pid = live.pid
    live.send("solo", solo(model(tmp_path, endless())))
    worker = worker_of(pid)
    started = time.monotonic()
    live.stream.close(started + 10)
    assert time.monotonic() - started < 5
    assert ends(worker)
    assert not running(pid)
    assert not lease.exists()


def test_a_killed_agent_leaves_no_worker(live: Agent, lease: Path, tmp_path: Path) -> None:
    pid = live.pid
    live.send("solo", solo(model(tmp_path, endless())))
    worker = worker_of(pid)
    os.kill(pid, 9)
    assert ends(worker)
    with pytest.raises(AgentDied):
        live.answer(5)
    # Nobody was left to give it back: it expires.
    assert lease.exists()


def test_silence_ends_the_agent_with_its_worker(root: Path, tmp_path: Path) -> None:
    package = tmp_path / "latency_agent"
    shutil.copytree(Path(protocol.__file__).parent, package)
    text = (package / "protocol.py").read_text()
    patient, hasty = "HEARTBEAT_TIMEOUT_S = 20.0\n", "HEARTBEAT_TIMEOUT_S = 3.0\n"
    assert patient in text
    (package / "protocol.py").write_text(text.replace(patient, hasty))
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(archive_bytes(package))
    with agent(root, archive=archive) as live:
        live.ask("acquire", OWNER | {"path": str(tmp_path / "lease")})
        pid = live.pid
        live.send("solo", solo(model(tmp_path, endless())))
        worker = worker_of(pid)
        live.send("ping")
        time.sleep(1.5)
        assert running(pid)
        assert ends(pid, 6)
        assert ends(worker)
        assert not (tmp_path / "lease").exists()


def test_a_python_without_the_runtime_says_so(root: Path) -> None:
    python = next((found for name in ("python3.9", "python3") if (found := runnable(name))), None)
    if python is None:
        pytest.fail("install a Python beside the project's own (Debian: python3): one that has no runtime is needed")
    with agent(root, python=python) as live:
        error = live.ask("hello")["error"]
        assert error["kind"] == "ImportError"
        assert error["message"] == "ai-edge-litert is not installed beside this Python"


def runnable(name: str) -> str | None:
    """Return a bare interpreter of this machine; a name on the PATH may be a stand-in for one that is not installed."""
    candidates = [
        path for path in (shutil.which(name), *(str(found) for found in Path.home().glob(f".pyenv/versions/*/bin/{name}"))) if path
    ]
    script = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ai_edge_litert') is not None)"
    for path in candidates:
        if subprocess.run([path, "-I", "-c", script], check=False, capture_output=True, timeout=30).returncode == 0:
            return path
    return None
