"""The A/A test from end to end: the real agent and runtime, this machine as the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.measure import plan
from harness.measure.aa import aa
from harness.measure.alternation import pair_ratios
from harness.measure.benchmark import bench
from harness.measure.result import AAReport, Progress, Result
from harness.measure.stats import ratio_of_pairs
from harness.measure.store import Store
from tests.cli import tiny_models
from tests.models import sigmoids

pytestmark = pytest.mark.long

LEAST = 3
PAIRS = 3


@dataclass(frozen=True)
class Ran:
    """An A/A test that was interrupted in its second visit and then gone on with; `begun` holds the visits that each of the two began."""

    report: AAReport
    progress: list[Progress]
    begun: tuple[list[str], list[str]]


@pytest.fixture(scope="module", autouse=True)
def no_repeats() -> Iterator[None]:
    """Let processes stand that something disturbed: on a busy machine most would be taken again, and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MOST_FLAWED", 0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("aa")
    (made / "sigmoids4.tflite").write_bytes(sigmoids(4))
    (made / "add.tflite").write_bytes(tiny_models.add())
    return made


def run(folder: Path, progress: Callable[[Progress], None]) -> AAReport:
    return aa(folder / "add.tflite", pairs=PAIRS, processes=LEAST, results=folder / "results", progress=progress)


def begun(progress: list[Progress]) -> list[str]:
    return [news.model.partition(" of")[0] for news in progress if news.phase == "measuring" and news.repetitions == 0]


def until(stop_at: str, told: list[Progress]) -> Callable[[Progress], None]:
    """Return what interrupts the test when the visit to stop at has its first process."""

    def tell(news: Progress) -> None:
        told.append(news)
        if news.model.startswith(stop_at) and news.repetitions == 1:
            raise KeyboardInterrupt

    return tell


@pytest.fixture(scope="module")
def tested(folder: Path) -> Ran:
    """Compare a model with itself as seldom as is allowed."""
    first: list[Progress] = []
    with contextlib.suppress(KeyboardInterrupt):
        run(folder, until("pair 2", first))
    second: list[Progress] = []
    report = run(folder, second.append)
    return Ran(report, first + second, (begun(first), begun(second)))


def test_an_a_a_test_tells_what_the_rig_can_see(tested: Ran) -> None:
    report = tested.report
    assert report.pairs == report.visits == PAIRS
    assert report.false_positive_rate == report.false_positives / PAIRS
    assert 0 < report.smallest_difference < 1
    assert 0 <= report.between_visit_spread < 1
    assert report.latency_ms < 0.05


def test_a_model_is_as_fast_as_itself(tested: Ran, folder: Path) -> None:
    assert tested.report.pairs == PAIRS
    with Store.open(folder / "results", read_only=True) as store:
        visits = [store.repetitions(pairing.a) for pairing, outcome in store.comparisons("aa") if outcome == "measured"]
    assert len(visits) == PAIRS
    assert min(len(visit) for visit in visits) >= LEAST
    found = ratio_of_pairs([pair_ratios(one.data, 1, swapped=position % 2 == 1) for visit in visits for position, one in enumerate(visit)])
    assert found.ratio == pytest.approx(1, abs=0.05)


def test_an_a_a_test_says_how_far_it_is(tested: Ran) -> None:
    assert len([news for news in tested.progress if news.phase == "measuring"]) >= PAIRS * LEAST
    assert tested.progress[-1].model.startswith(f"pair {PAIRS} of {PAIRS}")


def test_later_intervals_include_the_spread_between_visits(tested: Ran, folder: Path) -> None:
    (found,) = bench(folder / "sigmoids4.tflite", max_time_s=0.1, results=folder / "results")
    assert isinstance(found, Result)
    assert found.interval_scope == "visits"
    with Store.open(folder / "results", read_only=True) as store:
        assert store.spread(store.measurement(found.measurement_id).subject) == tested.report.between_visit_spread


def test_an_interrupted_a_a_test_goes_on_where_it_was_and_a_finished_one_does_not(tested: Ran, folder: Path) -> None:
    assert tested.begun == (["pair 1", "pair 2"], ["pair 2", "pair 3"])
    with Store.open(folder / "results", read_only=True) as store:
        outcomes = [outcome for _, outcome in store.comparisons("aa")]
    assert outcomes == ["measured", "measured", "unfinished", "measured"]
    again: list[Progress] = []
    with contextlib.suppress(KeyboardInterrupt):
        run(folder, until("pair 1", again))
    assert begun(again) == ["pair 1"]


def test_too_few_pairs_or_processes_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="2 pairs tell nothing"):
        aa(folder / "add.tflite", pairs=2, results=folder / "refused")
    with pytest.raises(ConfigError, match="2 processes give no interval"):
        aa(folder / "add.tflite", processes=2, results=folder / "refused")
    assert not (folder / "refused").exists()
