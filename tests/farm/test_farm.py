"""Several boards at once, each behind a real SSH server and with a lease of its own; one of them misbehaves."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.devices.session import Session
from harness.errors import ConfigError
from harness.measure import loop, rig
from harness.measure.benchmark import bench
from harness.measure.equal import equal
from harness.measure.result import FailedResult, Progress, Result
from harness.measure.rows import Equivalence
from harness.measure.store import Store
from tests.cli import tiny_models
from tests.devices.netns import allowed
from tests.devices.sshd import Sshd, inventory
from tests.measure.quick import shorten
from tests.measure.test_store_given import raw
from tests.models import sigmoids

pytestmark = pytest.mark.skipif(not allowed(), reason="a board with a /tmp of its own takes root: these tests run where root runs them")
NAMES = ("first", "second")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr(loop, "ASIDE_S", 0.5)
    monkeypatch.setattr(rig, "LEASE_WAIT_S", 0.5)
    monkeypatch.setattr(rig, "RETURN_LIMIT_S", 0.0)
    monkeypatch.setattr(rig, "RETURN_STEP_S", 0.2)


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Sshd]]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    started = {name: Sshd(folder / name, name, own_tmp=True) for name in NAMES}
    yield started
    for sshd in started.values():
        sshd.stop()
    shutil.rmtree(folder)


class Farm:
    """Two boards and the models for them in a folder; what `bench` told is kept."""

    def __init__(self, folder: Path, boards: dict[str, Sshd]) -> None:
        self.folder, self.boards = folder, boards
        self.told: list[Progress] = []
        self.models = [folder / "add.tflite", folder / "sigmoids.tflite"]
        for model, data in zip(self.models, (tiny_models.add(), sigmoids(2)), strict=True):
            model.write_bytes(data)
        self.write()

    def write(self, **keys: object) -> None:
        """Write the inventory, with these keys for the first board."""
        devices = [replace(sshd.device, runtime="ai-edge-litert", python=sys.executable, tags=("farm",)) for sshd in self.boards.values()]
        (self.folder / "devices.toml").write_text(inventory(replace(devices[0], **keys), *devices[1:]))  # type: ignore[arg-type]

    def bench(self, harm: Callable[[Progress], None] = lambda _: None, **how: object) -> list[Result | FailedResult]:
        def progress(now: Progress) -> None:
            self.told.append(now)
            harm(now)

        asked = {"device": "tag:farm", "interval": 0.9, "max_time_s": 0.1} | how
        return bench(self.models, inventory=self.folder / "devices.toml", progress=progress, **asked)  # type: ignore[arg-type]

    def rows(self) -> list[tuple[str, str, str]]:
        with Store.open(self.folder / "results", read_only=True) as store:
            return sorted((row.provenance.device, Path(row.provenance.model).stem, row.outcome) for row in store.rows())

    def agents(self) -> str:
        homes = "|".join(str(sshd.home) for sshd in self.boards.values())
        return subprocess.run(["pgrep", "-f", f"({homes}).*latency_agent"], check=False, capture_output=True, text=True).stdout


@pytest.fixture
def farm(running: dict[str, Sshd], tmp_path: Path) -> Farm:
    return Farm(tmp_path, running)


def kill_agent(sshd: Sshd) -> None:
    subprocess.run(["pkill", "-9", "-f", f"{sshd.home}/.*latency_agent.* serve"], check=True)


def where(outcomes: list[Result | FailedResult]) -> list[tuple[str, str | None, type]]:
    return [(Path(outcome.model).stem, outcome.device, type(outcome)) for outcome in outcomes]


ALL = [("add", "first", Result), ("add", "second", Result), ("sigmoids", "first", Result), ("sigmoids", "second", Result)]


def test_boards_measure_side_by_side(farm: Farm) -> None:
    assert where(farm.bench()) == ALL
    measuring = [news.device for news in farm.told if news.phase == "measuring"]
    assert measuring != sorted(measuring)
    assert {(news.device, news.done, news.total) for news in farm.told if news.phase == "done"} >= {(name, 2, 2) for name in NAMES}
    assert farm.agents() == ""


def test_a_board_that_cannot_be_reached_fails_alone_and_can_be_gone_on_with(farm: Farm) -> None:
    farm.boards["first"].stop()
    found = farm.bench()
    assert where(found) == [(model, device, FailedResult if device == "first" else Result) for model, device, _ in ALL]
    assert "cannot reach" in str(found[0])
    farm.boards["first"].start()
    again = farm.bench()
    assert where(again) == ALL
    assert isinstance(found[1], Result)
    assert again[1] == replace(found[1], from_store=True)
    assert len(farm.rows()) == 4


def test_a_board_that_comes_later_is_measured_while_another_measures(farm: Farm) -> None:
    farm.boards["first"].stop()

    def start(now: Progress) -> None:
        if (now.device, now.phase, now.repetitions) == ("second", "measuring", 1) and farm.boards["first"].sessions() == []:
            farm.boards["first"].start()
            time.sleep(3)

    assert where(farm.bench(start)) == ALL


def test_a_board_that_fails_again_and_again_is_set_aside_and_power_cycled(farm: Farm) -> None:
    farm.write(power_cycle=f"touch {farm.folder}/cycled")
    killed = 0

    def harm(now: Progress) -> None:
        nonlocal killed
        if (now.device, now.phase) == ("first", "measuring") and killed < 3:
            killed += 1
            kill_agent(farm.boards["first"])

    assert where(farm.bench(harm)) == ALL
    assert killed == 3
    assert {news.device for news in farm.told if news.phase == "aside"} == {"first"}
    assert (farm.folder / "cycled").exists()
    assert {outcome for _, _, outcome in farm.rows()} == {"measured"}


def test_a_board_whose_agent_always_dies_measures_no_more(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MOST_TIMES_ASIDE", 1)
    farm.write(power_cycle="sh -c 'echo no such port >&2; exit 3'")
    farm.models = [farm.folder / f"{count}.tflite" for count in range(4)]
    for count, model in enumerate(farm.models):
        model.write_bytes(sigmoids(count + 1))

    def harm(now: Progress) -> None:
        if (now.device, now.phase) == ("first", "measuring"):
            kill_agent(farm.boards["first"])

    found = farm.bench(harm)
    assert {type(outcome) for outcome in found if outcome.device == "first"} == {FailedResult}
    assert {type(outcome) for outcome in found if outcome.device == "second"} == {Result}
    notes = [news.note for news in farm.told if news.device == "first" and news.note]
    assert "its power_cycle ended with exit 3: no such port; see power_cycle in devices.toml" in notes
    assert len([news for news in farm.told if news.device == "first" and news.phase == "aside" and news.note]) == 1
    assert farm.agents() == ""


def test_a_board_in_use_is_waited_for_as_long_as_another_measures(farm: Farm) -> None:
    device = replace(farm.boards["first"].device, runtime="ai-edge-litert", python=sys.executable)
    with Session.open(device) as other:
        other.acquire()

        def give_back(now: Progress) -> None:
            if (now.device, now.phase, now.done) == ("second", "measuring", 0):
                other.close()

        assert where(farm.bench(give_back)) == ALL


def test_only_equal_boards_share(farm: Farm) -> None:
    with pytest.raises(ConfigError, match=r"were never compared under ai-edge-litert .*\nharness devices equal"):
        farm.bench(share=True)
    assert farm.agents() == ""
    assert where(farm.bench()) == ALL  # which stores the subjects
    with Store.open(farm.folder / "results") as store:
        subjects = {row.provenance.device: row.subject for row in store.rows()}
        store.end_equivalence_test(subjects["first"], subjects["second"], Equivalence(datetime.now(UTC), 0.03, 0.08, equal=False))
        with pytest.raises(ConfigError, match=r"may be 8\.0% apart under ai-edge-litert"):
            farm.bench(share=True)
        store.end_equivalence_test(subjects["first"], subjects["second"], Equivalence(datetime.now(UTC), 0.03, 0.01, equal=True))
    with raw(farm.folder / "results") as database:
        database.execute("DELETE FROM reports WHERE benchmark IN (SELECT id FROM benchmarks WHERE provenance LIKE '%\"second\"%')")
    stored = farm.bench(share=True)
    assert [(result.device, result.from_store) for result in stored if isinstance(result, Result)] == [("second", True)] * 2
    farm.models = [farm.folder / f"{count}.tflite" for count in (3, 4)]
    for count, model in enumerate(farm.models, 3):
        model.write_bytes(sigmoids(count))
    found = farm.bench(share=True)
    assert [Path(outcome.model).stem for outcome in found] == ["3", "4"]
    assert {outcome.device for outcome in found} == set(NAMES)
    assert len(farm.rows()) == 6


def test_what_a_lost_board_shared_is_measured_by_the_other(farm: Farm) -> None:
    farm.bench()
    with Store.open(farm.folder / "results") as store:
        subjects = {row.provenance.device: row.subject for row in store.rows()}
        store.end_equivalence_test(subjects["first"], subjects["second"], Equivalence(datetime.now(UTC), 0.03, 0.01, equal=True))

    def harm(now: Progress) -> None:
        if (now.device, now.phase) == ("first", "measuring"):
            farm.boards["first"].stop()

    try:
        found = farm.bench(harm, share=True, fresh=True)
    finally:
        farm.boards["first"].start()
    assert next(news.note for news in farm.told if (news.device, news.phase) == ("first", "failed")).startswith("cannot reach")
    assert where(found) == [(model, "second", Result) for model in ("add", "sigmoids")]


def test_an_interrupt_ends_every_board(farm: Farm) -> None:
    def interrupt(now: Progress) -> None:
        if (now.device, now.phase, now.repetitions) == ("second", "measuring", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        farm.bench(interrupt)
    deadline = time.monotonic() + 5
    while farm.agents() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert farm.agents() == ""
    before = farm.rows()
    assert where(farm.bench()) == ALL
    assert len(farm.rows()) == max(4, len(before))


def test_two_boards_are_tested_for_equality_and_the_outcome_is_kept(farm: Farm) -> None:
    how = {"models": [str(farm.models[0])], "within": 0.9, "processes": 3, "inventory": farm.folder / "devices.toml"}
    outcome = equal(*NAMES, **how)  # type: ignore[arg-type]
    (comparison,) = outcome.comparisons
    assert (comparison.device_a, comparison.device_b) == NAMES
    assert outcome.farthest == max(comparison.interval[1], 1 / comparison.interval[0]) - 1
    assert outcome.equal == (comparison.verdict == "steady" and outcome.farthest <= 0.9)
    with Store.open(farm.folder / "results") as store:
        first, second = (store.row(one).subject for one in comparison.measurement_ids)
        kept = store.equivalence(first, second)
    assert kept is not None
    assert (kept.within, kept.farthest, kept.equal) == (0.9, outcome.farthest, outcome.equal)


def test_boards_of_two_kinds_are_never_equal(farm: Farm) -> None:
    farm.write(core=0)
    with pytest.raises(ConfigError, match=r"first and second are no replicas: the measured core is \(0,\) and \(1,\)"):
        equal(*NAMES, inventory=farm.folder / "devices.toml")
    with pytest.raises(ConfigError, match="first is one device"):
        equal("first", "first", inventory=farm.folder / "devices.toml")
