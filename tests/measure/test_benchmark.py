"""Benchmarks from end to end: the real agent and runtime, this machine as the device, small models, few repetitions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.convert.reference import MEMORY_SHA256, MOBILE_SHA256
from harness.devices.inventory import load_inventory
from harness.errors import ConfigError, StoreError
from harness.measure import loop
from harness.measure.benchmark import bench
from harness.measure.plan import CANDIDATE_CHUNKS, benchmark_schedule
from harness.measure.result import FailedResult, Progress, Result
from harness.measure.rows import Row
from harness.measure.samples import Measurement, TimedRepetition
from harness.measure.store import Store
from tests.cli import tiny_models
from tests.measure.quick import shorten
from tests.measure.test_stats_given import benchmarked
from tests.models import sigmoids

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """One call of `bench` over two models, and what was seen on the way."""

    folder: Path
    measuring_s: float
    results: list[Result | FailedResult]
    progress: list[Progress]
    affinities: list[set[int]]

    def result(self, index: int) -> Result:
        found = self.results[index]
        assert isinstance(found, Result)
        return found

    def rows(self) -> list[Row]:
        with Store.open(self.folder / "results", read_only=True) as store:
            return list(store.rows())

    def measurement(self, index: int) -> Measurement:
        with Store.open(self.folder / "results", read_only=True) as store:
            return store.measurement(self.result(index).measurement_id)


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("benchmark")
    (made / "add.tflite").write_bytes(tiny_models.add())
    (made / "sigmoids.tflite").write_bytes(sigmoids(4))
    return made


@pytest.fixture(scope="module")
def done(folder: Path) -> Done:
    """Bench two models until each has the repetitions that it must have: any interval does, and the time is ample."""
    progress: list[Progress] = []
    told_s: list[float] = []
    affinities: list[set[int]] = []

    def tell(news: Progress) -> None:
        progress.append(news)
        if news.phase == "measuring":
            told_s.append(time.monotonic())
            affinities.extend(os.sched_getaffinity(int(task.name)) for task in Path("/proc/self/task").iterdir())

    models = [folder / "add.tflite", folder / "sigmoids.tflite"]
    found = bench(models, interval=100.0, max_time_s=300, results=folder / "results", progress=tell)
    return Done(folder, max(told_s) - min(told_s), found, progress, affinities)


def test_results_come_in_the_order_of_the_models(done: Done) -> None:
    assert [Path(done.result(index).model).name for index in (0, 1)] == ["add.tflite", "sigmoids.tflite"]
    assert done.result(0).latency_ms < 0.01 < done.result(1).latency_ms


def test_both_are_stored_as_measured(done: Done) -> None:
    assert {row.outcome for row in done.rows()} == {"measured"}


def test_when_the_time_is_up_the_result_stands_and_says_so(folder: Path, tmp_path: Path) -> None:
    result = one(bench(folder / "add.tflite", interval=1e-9, max_time_s=0.1, results=tmp_path))
    assert result.verdict != "steady"
    assert result.processes == 1


def test_the_time_for_one_model_is_its_own(done: Done) -> None:
    spent = {news.model: news.spent_s for news in done.progress if news.phase == "done"}
    assert len(spent) == 2
    assert min(spent.values()) > 0
    assert sum(spent.values()) <= done.measuring_s


def test_the_models_are_measured_in_turn(done: Done) -> None:
    first, second = ([repetition.taken_at for repetition in done.measurement(index).repetitions] for index in (0, 1))
    assert min(first) < max(second)
    assert min(second) < max(first)


def test_a_repetition_holds_the_references_around_and_between_the_candidate(done: Done) -> None:
    for index in (0, 1):
        for repetition in done.measurement(index).repetitions:
            assert repetition.models == (MOBILE_SHA256, MEMORY_SHA256, done.result(index).sha256)
            assert tuple((chunk.model,) for chunk in repetition.data.chunks) == benchmark_schedule(CANDIDATE_CHUNKS)


def test_every_repetition_ran_on_the_core_that_the_result_names(done: Done) -> None:
    for index in (0, 1):
        assert {repetition.data.affinity for repetition in done.measurement(index).repetitions} == {done.result(index).cores}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="nothing can be kept off the only core")
def test_this_process_keeps_off_the_core_and_comes_back(done: Done) -> None:
    assert done.affinities
    assert all(done.result(0).core not in found for found in done.affinities)
    assert done.result(0).core in os.sched_getaffinity(0)


def test_the_outputs_are_held_against_the_second_side(done: Done) -> None:
    assert "host reference kernels" in done.result(0).numbers


def test_progress_goes_from_converting_to_done(done: Done) -> None:
    phases = [news.phase for news in done.progress if news.model.endswith("add.tflite")]
    assert phases[0] == "converting"
    assert phases[-1] == "done"
    assert set(phases[1:-1]) <= {"waiting", "measuring"}


def stored_steady(done: Done, folder: Path) -> Result:
    """Store a steady measurement of the first model, half-width 0.1%, as the newest."""
    result, (row, *_) = done.result(0), [row for row in done.rows() if row.id == done.result(0).measurement_id]
    with Store.open(done.folder / "results", read_only=True) as store:
        session = store.measurement(row.id).repetitions[0].session
    models = (MOBILE_SHA256, MEMORY_SHA256, result.sha256)
    with Store.open(folder) as store:
        benchmark = store.start_benchmark(session, row.subject, row.provenance)
        store.add_solo(benchmark, done.measurement(0).solo, "within 0 of host reference kernels")
        for seed in range(5):
            data = benchmarked(100_000 + 100 * seed, seed)
            store.add_repetition(benchmark, TimedRepetition(session, datetime.now(UTC), models, data))
        store.finish(benchmark)
    return replace(result, measurement_id=benchmark)


@pytest.fixture
def known(done: Done, tmp_path: Path) -> tuple[Path, Result]:
    """Return a results folder that holds a steady measurement, and what it is."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "measurements.sqlite").write_bytes((done.folder / "results/measurements.sqlite").read_bytes())
    return folder, stored_steady(done, folder)


def one(found: list[Result | FailedResult]) -> Result:
    (result,) = found
    assert isinstance(result, Result)
    return result


def test_a_steady_result_is_answered_from_the_store(known: tuple[Path, Result], folder: Path) -> None:
    results, stored = known
    phases: list[str] = []
    found = one(bench(folder / "add.tflite", interval=0.01, results=results, progress=lambda news: phases.append(news.phase)))
    assert found.from_store
    assert found.measurement_id == stored.measurement_id
    assert found.latency_ms == pytest.approx(0.1002, rel=1e-3)
    assert phases == ["converting", "stored"]


def test_a_steady_result_is_no_answer_where_a_fresh_one_is_asked_for(known: tuple[Path, Result], folder: Path) -> None:
    results, stored = known
    found = one(bench(folder / "add.tflite", fresh=True, max_time_s=0.1, results=results))
    assert not found.from_store
    assert found.measurement_id > stored.measurement_id


def test_a_steady_result_is_no_answer_to_a_more_precise_question_however_often_it_is_asked(
    known: tuple[Path, Result], folder: Path
) -> None:
    results, stored = known
    found = bench([folder / "add.tflite"] * 2, interval=1e-6, max_time_s=0.1, results=results)
    assert [result.from_store for result in found if isinstance(result, Result)] == [False, False]
    first, second = (result.measurement_id for result in found if isinstance(result, Result))
    assert len({first, second, stored.measurement_id}) == 3


def harness(model: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.measure.quick", "bench", str(model), "--results", str(model.parent / "results"), *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stored(folder: Path) -> tuple[list[Row], tuple[TimedRepetition, ...]]:
    try:
        with Store.open(folder / "results", read_only=True) as store:
            rows = list(store.rows())
            return rows, store.repetitions(rows[0].id) if rows else ()
    except StoreError:
        return [], ()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_benchmark_goes_on_where_it_was(tmp_path: Path, end: signal.Signals) -> None:
    first, second = tmp_path / "first.tflite", tmp_path / "second.tflite"
    for model in (first, second):
        model.write_bytes(sigmoids(4))
    with harness(first, "--interval", "0.0000001%", "--max-time", "300") as process:
        deadline = time.monotonic() + 90
        while not stored(tmp_path)[1]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(end)
        process.communicate(timeout=30)
    (row,), before = stored(tmp_path)
    assert row.outcome == "unfinished"
    with harness(second, "--interval", "0.0000001%", "--max-time", "0.1", "--json") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    (result,) = json.loads(out)
    (row,), after = stored(tmp_path)
    assert row.outcome == "measured"
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1 == result["processes"]
    assert len({repetition.session for repetition in after}) == 2
    assert result["from_store"] is False
    assert result["model"] == str(second)


@pytest.mark.long
def test_what_a_killed_call_has_finished_is_not_measured_again_however_unsteady(tmp_path: Path) -> None:
    models = [tmp_path / f"{count}.tflite" for count in (3, 4, 5)]
    for count, model in enumerate(models, 3):
        model.write_bytes(sigmoids(count))
    how = (*map(str, models[1:]), "--interval", "0.0000001%", "--max-time", "0.1", "--json")
    with harness(models[0], *how) as process:
        deadline = time.monotonic() + 90
        while "measured" not in {row.outcome for row in stored(tmp_path)[0]}:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=30)
    finished = {row.id for row in stored(tmp_path)[0] if row.outcome == "measured"}
    assert 1 <= len(finished) < 3
    with harness(models[0], *how) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert {result["measurement_id"] for result in json.loads(out) if result["from_store"]} == finished
    assert [row.outcome for row in stored(tmp_path)[0]] == ["measured"] * 3
    with harness(models[0], *how) as process:
        process.communicate(timeout=120)
    assert len(stored(tmp_path)[0]) == 6


def test_a_model_is_measured_while_another_is_converted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.Loop, "_has_baseline", lambda _: True)  # 5 sessions earlier
    tiny_models.custom_layer_keras(tmp_path / "slow.keras")
    told: list[tuple[str, str, int]] = []

    def tell(news: Progress) -> None:
        told.append((Path(news.model).stem, news.phase, news.repetitions))

    bench([folder / "add.tflite", tmp_path / "slow.keras"], max_time_s=0.1, results=str(tmp_path), progress=tell)
    assert told.index(("add", "measuring", 1)) < told.index(("slow", "failed", 0))


def test_the_host_process_loads_no_runtime(folder: Path, tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
import harness
(result,) = harness.bench({str(folder / "add.tflite")!r}, max_time_s=0.1, results=Path({str(tmp_path)!r}))
assert result.latency_ms > 0
runtimes = ("ai_edge_litert.interpreter", "tflite_runtime", "tensorflow", "keras")
print([name for name in runtimes if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr


def test_a_device_that_is_not_in_the_inventory_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        bench(folder / "add.tflite", device="nowhere", results=tmp_path)


def test_nothing_to_measure_gives_nothing(tmp_path: Path) -> None:
    assert bench([], results=str(tmp_path)) == []


def test_the_committed_inventory_has_both_runtimes() -> None:
    found = load_inventory(ROOT / "devices.toml")
    assert [found.device(name).runtime for name in ("local", "local-tflite-runtime")] == [None, "tflite-runtime"]
