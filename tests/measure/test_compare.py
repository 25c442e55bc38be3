"""Comparisons from end to end: the real agent and runtimes, this machine as the device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import AgentDied, ConfigError
from harness.measure import plan
from harness.measure.benchmark import bench
from harness.measure.compare import _pair_ratios, _sentence, aa, compare
from harness.measure.result import AAReport, Comparison, Progress, Result
from harness.measure.stats import Ratio, ratio_of_pairs
from harness.measure.store import Row, Store
from tests.cli import tiny_models
from tests.models import sigmoids

INVENTORY = Path(__file__).parents[2] / "devices.toml"
LEAST = 3
PAIRS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("compare")
    for count in (4, 8):
        (made / f"sigmoids{count}.tflite").write_bytes(sigmoids(count))
    (made / "add.tflite").write_bytes(tiny_models.add())
    (made / "crashing.tflite").write_bytes(tiny_models.crashing())
    return made


def rows(results: Path) -> list[Row]:
    with Store.open(results, read_only=True) as store:
        return list(store.rows())


@pytest.fixture(scope="module")
def doubled(folder: Path) -> Comparison:
    """Compare a model with one that does twice its work."""
    return compare(folder / "sigmoids4.tflite", folder / "sigmoids8.tflite", processes=LEAST, results=folder / "doubled")


def test_twice_the_work_takes_about_twice_as_long(doubled: Comparison) -> None:
    assert 1.5 < doubled.ratio < 2.5
    assert doubled.interval[0] <= doubled.ratio <= doubled.interval[1]
    assert doubled.b_ms / doubled.a_ms == pytest.approx(doubled.ratio, rel=0.2)


def test_a_difference_is_said_in_a_sentence(doubled: Comparison) -> None:
    assert doubled.difference
    assert "sigmoids8.tflite is " in doubled.sentence
    assert "slower than" in doubled.sentence


def test_pairs_are_counted_over_the_processes(doubled: Comparison) -> None:
    assert (doubled.processes, doubled.pairs) == (LEAST, LEAST * plan.COMPARE_PAIRS)


def test_both_sides_are_stored_with_their_samples(doubled: Comparison, folder: Path) -> None:
    found = rows(folder / "doubled")
    assert doubled.processes == LEAST
    assert [row.outcome for row in found] == ["measured", "measured"]
    first, second = found
    assert first.subject.design == f"compare {second.subject.model_sha256}"
    assert second.subject.design == f"compare {first.subject.model_sha256}"
    with Store.open(folder / "doubled", read_only=True) as store:
        orders = [[chunk.model for chunk in one.data.chunks if chunk.model > 1][:2] for one in store.repetitions(first.id)]
    assert orders == [[2, 3], [3, 2], [2, 3]]


def test_one_model_is_compared_on_two_runtimes(folder: Path) -> None:
    devices = ("local", "local-tflite-runtime")
    found = compare(folder / "add.tflite", devices=devices, processes=LEAST, inventory=INVENTORY, results=folder / "runtimes")
    assert (found.device_a, found.device_b) == devices
    assert 0.05 < found.ratio < 20
    assert found.pairs == LEAST
    assert "add.tflite on local" in found.sentence
    assert "on local-tflite-runtime" in found.sentence
    assert {row.subject.runtime for row in rows(folder / "runtimes")} == {"ai-edge-litert", "tflite-runtime"}


@pytest.mark.parametrize(
    ("models", "devices"),
    [
        (("add.tflite",), ()),
        (("add.tflite",), ("local",)),
        (("add.tflite",), ("local", "local", "local")),
        (("add.tflite", "add.tflite"), ("local", "local-tflite-runtime")),
        (("add.tflite", "add.tflite"), ("local", "local", "local")),
    ],
)
def test_other_combinations_are_refused(folder: Path, models: tuple[str, ...], devices: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="two models on one device, or one model on two devices"):
        compare(*(folder / model for model in models), devices=devices, inventory=INVENTORY, results=folder / "refused")
    assert not (folder / "refused").exists()


def test_too_few_processes_or_pairs_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="2 processes give no interval"):
        compare(folder / "add.tflite", folder / "add.tflite", processes=2, results=folder / "refused")
    with pytest.raises(ConfigError, match="2 pairs tell nothing"):
        aa(folder / "add.tflite", pairs=2, results=folder / "refused")
    assert not (folder / "refused").exists()


def test_a_side_that_crashes_ends_the_comparison_and_is_stored(folder: Path) -> None:
    with pytest.raises(AgentDied, match="SIGFPE"):
        compare(folder / "add.tflite", folder / "crashing.tflite", processes=LEAST, results=folder / "crashed")
    assert {row.outcome for row in rows(folder / "crashed")} == {"failed"}
    assert {row.failure.kind for row in rows(folder / "crashed") if row.failure} == {"AgentDied"}


def test_no_difference_is_said_with_how_large_one_could_be() -> None:
    assert _sentence(("a", "b"), Ratio(1.001, 0.995, 1.007, 40), difference=False) == (
        "No difference seen between a and b: if there is one, it is within 0.7% (95%)."
    )


def test_a_difference_is_said_with_its_interval() -> None:
    assert _sentence(("a", "b"), Ratio(0.9, 0.88, 0.92, 40), difference=True) == "b is 10.0% faster than a (8.0% to 12.0%, 95%)."
    assert _sentence(("a", "b"), Ratio(1.1, 1.08, 1.12, 40), difference=True) == "b is 10.0% slower than a (8.0% to 12.0%, 95%)."


@pytest.fixture(scope="module")
def tested(folder: Path) -> tuple[AAReport, list[Progress]]:
    """Compare a model with itself as seldom as is allowed."""
    progress: list[Progress] = []
    return aa(folder / "add.tflite", pairs=PAIRS, processes=LEAST, results=folder / "aa", progress=progress.append), progress


def test_an_a_a_test_tells_what_the_rig_can_see(tested: tuple[AAReport, list[Progress]]) -> None:
    report, _ = tested
    assert report.pairs == PAIRS
    assert LEAST <= report.visits <= PAIRS
    assert report.false_positive_rate == report.false_positives / PAIRS
    assert 0 < report.smallest_difference < 1
    assert report.between_visit_spread is not None
    assert 0 <= report.between_visit_spread < 1
    assert report.latency_ms < 0.05


def test_a_model_is_as_fast_as_itself(tested: tuple[AAReport, list[Progress]], folder: Path) -> None:
    assert tested
    with Store.open(folder / "aa", read_only=True) as store:
        visits = [store.repetitions(row.id) for row in store.rows() if row.subject.design != "benchmark"]
    assert len(visits) == PAIRS
    assert {len(visit) for visit in visits} == {LEAST}
    found = ratio_of_pairs([_pair_ratios(repetition.data, threads=1) for visit in visits for repetition in visit])
    assert found.pairs == PAIRS * LEAST * plan.COMPARE_PAIRS
    assert found.ratio == pytest.approx(1, abs=0.05)


def test_an_a_a_test_says_how_far_it_is(tested: tuple[AAReport, list[Progress]]) -> None:
    _, progress = tested
    assert len([news for news in progress if news.phase == "measuring"]) == PAIRS * LEAST
    assert progress[-1].model.startswith(f"pair {PAIRS} of {PAIRS}")


def test_later_intervals_include_the_spread_between_visits(tested: tuple[AAReport, list[Progress]], folder: Path) -> None:
    report, _ = tested
    (found,) = bench(folder / "sigmoids4.tflite", max_time_s=0.1, results=folder / "aa")
    assert isinstance(found, Result)
    assert found.interval_scope == "visits"
    with Store.open(folder / "aa", read_only=True) as store:
        spread = store.spread(found.fingerprint, found.runtime, found.runtime_version)
    assert spread is not None
    assert spread.relative_sd == report.between_visit_spread
    assert spread.visits == report.visits


def test_comparing_leaves_the_process_its_cores(doubled: Comparison) -> None:
    assert doubled.processes == LEAST
    assert len(os.sched_getaffinity(0)) == len(os.sched_getaffinity(os.getppid()))
