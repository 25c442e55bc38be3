"""What goes wrong in one model is stored with it, and the next one is measured: real crashes, hangs and wrong numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.convert import cache
from harness.convert.converter import prepare_tflite
from harness.measure import plan
from harness.measure.benchmark import bench
from harness.measure.result import FailedResult, Progress, Result
from harness.measure.rows import Row, Unmeasured
from harness.measure.samples import Failure
from harness.measure.store import Store
from tests.agent.live import children, running
from tests.cli import tiny_models
from tests.measure.quick import shorten
from tests.models import endless, sigmoids


@dataclass(frozen=True)
class Done:
    """One call of `bench`: what it returned and stored by model, and the processes that its agents started."""

    results: dict[str, Result | FailedResult]
    rows: dict[str, Row]
    unmeasured: tuple[Unmeasured, ...]
    workers: set[int]

    def error(self, name: str) -> str:
        found = self.results[name]
        assert isinstance(found, FailedResult)
        return found.error

    def failure(self, name: str) -> Failure:
        failure = self.rows[name].failure
        assert failure is not None
        return failure


def write(folder: Path, **models: bytes) -> list[Path]:
    for name, data in models.items():
        (folder / f"{name}.tflite").write_bytes(data)
    return [folder / f"{name}.tflite" for name in models]


def done(models: list[Path], results: Path, **how: float) -> Done:
    workers: set[int] = set()

    def watch(_: Progress) -> None:
        for agent in children(os.getpid()):
            if "serve" in Path(f"/proc/{agent}/cmdline").read_text():
                workers.update({agent} | children(agent))

    found = bench(models, results=results, progress=watch, **how)  # type: ignore[arg-type]
    with Store.open(results, read_only=True) as store:
        rows = {Path(row.provenance.model).stem: row for row in store.rows()}
        unmeasured = store.unmeasured()
    return Done({path.stem: result for path, result in zip(models, found, strict=True)}, rows, unmeasured, workers)


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        patch.setattr(plan, "LEAST_TIMEOUT_S", 8.0)
        yield


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("faults")
    models = write(
        folder, crashing=tiny_models.crashing(), endless=endless(), wrong=sigmoids(2), refused=tiny_models.dynamic(), good=sigmoids(1)
    )
    prepared = prepare_tflite(models[2], "wrong", {})
    assert prepared.expected is not None
    numbers = folder / "other.npz"
    with np.load(prepared.expected) as expected:
        np.savez(numbers, output_0=expected["output_0"] + 1)
    cache.keep(prepared.expected.stem, None, numbers, second_side="host reference kernels", not_compared=None, note=None)
    return done(models, folder / "results", max_time_s=0.1)


def test_every_model_has_its_outcome(faults: Done) -> None:
    assert {name: type(result) for name, result in faults.results.items()} == {
        "crashing": FailedResult,
        "endless": FailedResult,
        "wrong": FailedResult,
        "refused": FailedResult,
        "good": Result,
    }
    assert {name: row.outcome for name, row in faults.rows.items()} == {
        "crashing": "failed",
        "endless": "failed",
        "wrong": "failed",
        "good": "measured",
    }


def test_a_crash_in_the_runtime_is_stored_with_its_last_words(faults: Done) -> None:
    failure = faults.failure("crashing")
    assert failure.kind == "AgentDied"
    assert "SIGFPE" in failure.message
    assert "XNNPACK" in failure.stderr_tail
    assert "SIGFPE" in faults.error("crashing")


def test_a_hang_is_stored_with_its_deadline(faults: Done) -> None:
    failure = faults.failure("endless")
    assert failure.kind == "TimedOut"
    assert "did not end within 8 s" in failure.message
    assert "--max-time" in faults.error("endless")


def test_a_wrong_output_is_a_failure(faults: Done) -> None:
    assert faults.failure("wrong").kind == "WrongOutput"
    assert "off by 1" in faults.failure("wrong").message
    assert "does not count" in faults.error("wrong")


def test_a_model_that_cannot_be_prepared_is_no_failure_of_the_device(faults: Done) -> None:
    assert "refused" not in faults.rows
    (row,) = faults.unmeasured
    assert Path(row.model).name == "refused.tflite"
    assert (row.device, row.failure.kind) == ("local", "ConversionError")
    assert "--shape" in faults.error("refused")


def test_no_process_is_left(faults: Done) -> None:
    assert faults.workers
    assert not [pid for pid in faults.workers if running(pid)]


def kill_agent(killed: list[int]) -> None:
    """Kill the agent that runs now, and note it."""
    found = [pid for pid in children(os.getpid()) if "serve" in Path(f"/proc/{pid}/cmdline").read_text()]
    for pid in found:
        os.kill(pid, 9)
    killed += found


def test_the_death_of_the_agent_costs_nothing_that_was_measured(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(news: Progress) -> None:
        if news.phase == "measuring" and not killed:
            kill_agent(killed)

    found = bench(write(tmp_path, first=sigmoids(1), second=sigmoids(3)), max_time_s=0.1, results=tmp_path / "results", progress=kill)
    assert len(killed) == 1
    assert [result.core for result in found if isinstance(result, Result)] == [max(os.sched_getaffinity(0))] * 2
    with Store.open(tmp_path / "results", read_only=True) as store:
        assert [row.outcome for row in store.rows()] == ["measured"] * 2


def test_a_model_that_loses_its_agent_again_and_again_fails_alone(tmp_path: Path) -> None:
    first, second = write(tmp_path, first=sigmoids(1), second=sigmoids(3))
    killed: list[int] = []

    def kill(news: Progress) -> None:
        if news.phase == "measuring" and news.model == str(first):
            kill_agent(killed)

    failed, measured = bench([first, second], max_time_s=0.1, results=tmp_path / "results", progress=kill)
    assert len(killed) == 3
    assert isinstance(failed, FailedResult)
    assert "SIGKILL" in failed.error
    assert isinstance(measured, Result)
    with Store.open(tmp_path / "results", read_only=True) as store:
        (row,) = [row for row in store.rows() if row.outcome == "failed"]
    assert row.failure is not None
    assert row.failure.kind == "AgentDied"
