"""Comparisons from end to end: the real agent and runtimes, this machine as the device."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.errors import AgentDied, ConfigError, HarnessError
from harness.measure import plan, stats
from harness.measure.compare import _sentence, compare
from harness.measure.frames import comparisons
from harness.measure.result import Comparison, Progress
from harness.measure.rows import Row
from harness.measure.samples import REFERENCES
from harness.measure.stats import Ratio
from harness.measure.store import Store
from tests.cli import tiny_models
from tests.measure.quick import shorten
from tests.measure.test_store_given import raw
from tests.models import sigmoids

INVENTORY = Path(__file__).parents[2] / "devices.toml"
LEAST = 3


@pytest.fixture(scope="module", autouse=True)
def no_repeats() -> Iterator[None]:
    """Let processes stand that something disturbed: on a busy machine most would be taken again, and again."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        patch.setattr(plan, "MOST_FLAWED", 0)
        patch.setattr(plan, "COMPARE_EXCHANGE_NS", 100_000_000)
        yield


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


def test_pairs_are_counted_over_the_processes(doubled: Comparison, folder: Path) -> None:
    with Store.open(folder / "doubled", read_only=True) as store:
        repetitions = store.repetitions(rows(folder / "doubled")[0].id)
    assert doubled.processes == len(repetitions) == LEAST
    counted = 0
    for one in repetitions:
        flags = [stats.disturbed(chunk, 1) for chunk in one.data.chunks if chunk.model >= REFERENCES]
        either = np.concatenate([first | second for first, second in zip(flags[::2], flags[1::2], strict=True)])
        assert len(either) >= plan.COMPARE_EXCHANGES * plan.COMPARE_PAIRS
        counted += len(stats.clean_or_all(np.ones(len(either)), either))
    assert doubled.pairs == counted


def test_both_sides_are_stored_with_their_samples(doubled: Comparison, folder: Path) -> None:
    found = rows(folder / "doubled")
    assert [row.outcome for row in found] == ["measured", "measured"]
    first, second = found
    assert first.subject.design == f"compare {second.subject.model_sha256}"
    assert second.subject.design == f"compare {first.subject.model_sha256}"
    with Store.open(folder / "doubled", read_only=True) as store:
        orders = [one.models[2:] for one in store.repetitions(first.id)]
    assert len(orders) >= doubled.processes
    in_order = (second.subject.model_sha256, first.subject.model_sha256)  # rows come the newest first
    assert orders == [in_order if position % 2 == 0 else in_order[::-1] for position in range(len(orders))]


@pytest.mark.long
def test_one_model_is_compared_on_two_runtimes(folder: Path) -> None:
    devices = ("local", "local-tflite-runtime")
    found = compare(folder / "add.tflite", devices=devices, processes=LEAST, inventory=INVENTORY, results=folder / "runtimes")
    assert (found.device_a, found.device_b) == devices
    assert 0.05 < found.ratio < 20
    assert found.processes == found.pairs >= LEAST
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


def test_too_few_processes_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="2 processes give no interval"):
        compare(folder / "add.tflite", folder / "add.tflite", processes=2, results=folder / "refused")
    assert not (folder / "refused").exists()


def test_a_side_that_crashes_ends_the_comparison_and_is_stored(folder: Path) -> None:
    with pytest.raises(AgentDied, match=r"SIGFPE.*crashing\.tflite"):
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


def test_a_stored_comparison_says_what_the_fresh_one_did(doubled: Comparison, folder: Path) -> None:
    (row,) = comparisons(results=folder / "doubled").to_dict("records")
    assert (row["a"], row["b"], row["ratio"]) == (doubled.a, doubled.b, doubled.ratio)
    assert (row["interval_low"], row["interval_high"]) == doubled.interval
    assert (row["measurement_id_a"], row["measurement_id_b"]) == doubled.measurement_ids == tuple(sorted(doubled.measurement_ids))
    assert comparisons(model="other", results=folder / "doubled").empty
    assert len(comparisons(model=doubled.b, device="local", results=folder / "doubled")) == 1


def test_comparisons_of_an_older_method_are_kept_and_not_judged(doubled: Comparison, folder: Path, tmp_path: Path) -> None:
    assert doubled.processes >= LEAST
    shutil.copy(folder / "doubled" / "measurements.sqlite", tmp_path)
    with raw(tmp_path) as database:
        database.execute("update benchmarks set subject = json_set(subject, '$.method', 1)")
    assert comparisons(results=tmp_path).empty
    assert len(rows(tmp_path)) == 2


def test_stored_comparisons_are_listed(doubled: Comparison, folder: Path) -> None:
    asked = ["results", "--comparisons", "--results", str(folder / "doubled")]
    (row,) = json.loads(CliRunner().invoke(cli, [*asked, "--json"]).stdout)
    assert (row["ratio"], row["verdict"]) == (doubled.ratio, doubled.verdict)
    assert f"{doubled.ratio:.4f}" in CliRunner().invoke(cli, asked).stdout


def test_an_interrupted_comparison_goes_on_where_it_was(folder: Path) -> None:
    def stop(news: Progress) -> None:
        if news.repetitions == 2:
            raise KeyboardInterrupt

    results = folder / "interrupted"
    models = (folder / "add.tflite", folder / "sigmoids4.tflite")
    with pytest.raises(KeyboardInterrupt):
        compare(*models, processes=LEAST, results=results, progress=stop)
    assert {row.outcome for row in rows(results)} == {"unfinished"}
    with Store.open(results, read_only=True) as store:
        before = [store.repetitions(row.id) for row in rows(results)]
    found = compare(*models, processes=LEAST, results=results)
    assert {row.outcome for row in rows(results)} == {"measured"}
    assert tuple(row.id for row in rows(results))[::-1] == found.measurement_ids
    with Store.open(results, read_only=True) as store:
        after = [store.repetitions(row.id) for row in rows(results)]
    assert [taken[:2] for taken in after] == before
    assert len({len(taken) for taken in after}) == 1


def test_two_names_for_the_same_bytes_stay_two(folder: Path) -> None:
    (folder / "copy.tflite").write_bytes((folder / "add.tflite").read_bytes())
    found = compare(folder / "add.tflite", folder / "copy.tflite", processes=LEAST, results=folder / "copies")
    assert [Path(name).name for name in (found.a, found.b)] == ["add.tflite", "copy.tflite"]
    assert 0.5 < found.ratio < 2
    assert len(set(found.measurement_ids)) == 2


def test_a_model_that_cannot_be_read_is_kept_with_its_failure(folder: Path) -> None:
    (folder / "broken.tflite").write_bytes(b"")
    with pytest.raises(HarnessError, match=r"broken\.tflite"):
        compare(folder / "add.tflite", folder / "broken.tflite", results=folder / "broken")
    with Store.open(folder / "broken", read_only=True) as store:
        assert [Path(one.model).name for one in store.unmeasured()] == ["broken.tflite"]


def test_comparing_leaves_the_process_its_cores(doubled: Comparison) -> None:
    assert doubled.processes >= LEAST
    assert len(os.sched_getaffinity(0)) == len(os.sched_getaffinity(os.getppid()))
