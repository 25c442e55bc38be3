from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import harness
from harness.errors import ConfigError, StoreError
from harness.measure.frames import comparisons, export, results_frame, samples_frame
from harness.measure.result import Result
from harness.measure.samples import Failure, Measurement
from harness.measure.stats import disturbed
from harness.measure.store import Store
from tests.measure.test_store_given import MODELS, PROVENANCE, SESSION, SUBJECT, measured, timed


def summarise(measurement: Measurement) -> Result:
    """Stand in for the statistics: what they derive does not matter here."""
    subject, provenance = measurement.subject, measurement.provenance
    return Result(
        model=provenance.model,
        sha256=subject.model_sha256,
        device=provenance.device,
        runtime=subject.runtime,
        runtime_version=subject.runtime_version,
        precision=provenance.precision,
        core=subject.cores[0],
        cores=subject.cores,
        core_chosen_by=provenance.core_chosen_by,
        governor=subject.governor,
        settings=("stay awake", "forced idle"),
        threads=subject.threads,
        cold=subject.cold,
        latency_ms=1 / 3,
        latency_corrected_ms=None,
        interval_ms=(0.25, 0.5) if len(measurement.repetitions) > 2 else None,
        interval_scope="visits",
        p5_ms=0.1,
        p90_ms=0.4,
        p95_ms=0.5,
        p99_ms=0.6,
        min_ms=0.1,
        init_ms=2.0,
        first_ms=1.0,
        peak_memory_bytes=measurement.solo.peak_memory_bytes,
        model_size_bytes=provenance.model_size_bytes,
        delegated_nodes=None,
        total_nodes=12,
        runs=600,
        processes=len(measurement.repetitions),
        disturbed_share=0.01,
        reference_drift=None,
        elasticity=None,
        numbers=measurement.numbers,
        note=None,
        warnings=("a, b", "c"),
        verdict="steady",
        from_store=True,
        measured_at=measurement.measured_at,
        fingerprint=subject.fingerprint,
        measurement_id=measurement.id,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results") as opened:
        yield opened


@pytest.fixture
def frame(store: Store) -> pd.DataFrame:
    """Two measured models, one that failed, one not at its end."""
    measured(store, (1,))
    measured(store, (1, 2, 3), replace(SUBJECT, threads=2, cores=(2, 3), governor="performance"))
    session = store.start_session(SESSION)
    store.fail(Failure("AgentDied", "segfault", "Fatal"), store.start_benchmark(session, SUBJECT, replace(PROVENANCE, model="bad")))
    store.start_benchmark(session, SUBJECT, PROVENANCE)
    return results_frame(store, summarise=summarise)


def test_a_results_frame_has_a_row_per_ended_benchmark_newest_first(frame: pd.DataFrame) -> None:
    assert list(frame["measurement_id"]) == [3, 2, 1]
    assert list(frame["model"]) == ["bad", "net", "net"]
    assert list(frame["cores"]) == ["1", "2,3", "1"]
    assert frame["interval_low_ms"].isna().tolist() == [True, False, True]
    assert frame["interval_high_ms"][1] == 0.5
    assert frame["latency_ms"][1] == 1 / 3
    assert frame["warnings"][1] == "a, b; c"
    assert frame["governor"].isna().tolist() == [True, False, True]


def test_a_failure_is_a_row_that_says_why_and_has_no_latency(frame: pd.DataFrame) -> None:
    failed = frame.loc[0]
    assert (failed["error_kind"], failed["error"]) == ("AgentDied", "segfault")
    assert (failed["sha256"], failed["device"], failed["runtime"], failed["threads"]) == (MODELS[2], "pi4", "ai-edge-litert", 1)
    assert failed[["latency_ms", "runs", "verdict", "numbers", "peak_memory_bytes"]].isna().all()
    assert frame["error"][1:].isna().all()


def test_a_damaged_measurement_is_a_row_that_says_so_beside_the_others(store: Store) -> None:
    damaged, _ = measured(store, (1,)), measured(store, (2,))
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE repetitions SET data = substr(data, 1, 50) WHERE benchmark = ?", (damaged,))
    frame = results_frame(store, summarise=summarise)
    assert frame["error_kind"].isna().tolist() == [True, False]
    assert "damaged" in frame["error"][1]


def test_a_model_that_never_started_is_a_row_too(store: Store) -> None:
    measured(store, (1,))
    store.add_unmeasured("pi4", "broken.keras", Failure("ConversionError", "broken.keras: no layers", ""))
    frame = results_frame(store, summarise=summarise)
    assert list(frame["model"]) == ["broken.keras", "net"]
    assert (frame["device"][0], frame["error_kind"][0], frame["error"][0]) == ("pi4", "ConversionError", "broken.keras: no layers")
    assert frame[["measurement_id", "sha256", "latency_ms"]].loc[0].isna().all()
    assert list(results_frame(store, summarise=summarise, model="broken.keras")["model"]) == ["broken.keras"]


def test_a_failed_comparison_is_a_row_that_says_why(store: Store, tmp_path: Path) -> None:
    session = store.start_session(SESSION)
    a, b = (store.start_benchmark(session, SUBJECT, replace(PROVENANCE, model=name)) for name in ("net", "bad"))
    store.fail(Failure("AgentDied", "segfault", "Fatal"), *store.start_comparison("compare", a, b).benchmarks)
    frame = comparisons(results=tmp_path / "results")
    assert frame[["a", "b", "device_a", "error_kind", "error"]].to_dict("records") == [
        {"a": "net", "b": "bad", "device_a": "pi4", "error_kind": "AgentDied", "error": "segfault"}
    ]
    assert frame[["ratio", "interval_low", "verdict", "difference"]].loc[0].isna().all()
    empty = comparisons(model="other", results=tmp_path / "results")
    assert (len(empty), empty.dtypes.to_dict()) == (0, frame.dtypes.to_dict())


def test_columns_and_types_do_not_depend_on_what_is_stored(store: Store, frame: pd.DataFrame) -> None:
    empty = results_frame(store, summarise=summarise, device="unknown")
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == frame.dtypes.to_dict()
    assert str(frame["measured_at"].dtype) == "datetime64[us, UTC]"
    assert pd.api.types.is_integer_dtype(frame["runs"].dtype)
    assert len(results_frame(store, summarise=summarise, model="net")) == 2
    assert len(results_frame(store, summarise=summarise, since=datetime.now(UTC) + timedelta(hours=1))) == 0


def test_a_samples_frame_has_a_row_per_sample_with_its_model_and_role(store: Store) -> None:
    measurement = store.measurement(measured(store, (1, 2)))
    first = measurement.repetitions[0].data
    frame = samples_frame(measurement)
    of_chunk = ["repetition", "chunk", "model", "role", "start_ns"]
    assert list(frame) == [*of_chunk, "wall_ns", "cpu_ns", "repeats", "latency_ns", "switches", "disturbed"]
    assert len(frame) == 2 * 6 * 100
    chunk = frame[(frame["repetition"] == 0) & (frame["chunk"] == 5)]
    assert chunk["wall_ns"].tolist() == list(first.chunks[5].wall_ns)
    assert chunk["cpu_ns"].tolist() == list(first.chunks[5].cpu_ns)
    assert chunk["switches"].tolist() == list(first.chunks[5].switches)
    assert chunk["disturbed"].tolist() == disturbed(first.chunks[5], 1).tolist()
    assert set(chunk["start_ns"]) == {first.chunks[5].start_ns}
    assert frame.groupby("role")["model"].unique().map(list).to_dict() == {"candidate": [MODELS[2]], "reference": list(MODELS[:2])}


def test_the_latency_of_a_sample_is_that_of_one_run(store: Store) -> None:
    measurement = store.measurement(measured(store, (1,)))
    chunk = replace(measurement.repetitions[0].data.chunks[0], repeats=40)
    repetition = replace(timed("s", 1), data=replace(measurement.repetitions[0].data, chunks=(chunk,)))
    frame = samples_frame(replace(measurement, repetitions=(repetition,)))
    np.testing.assert_array_equal(frame["latency_ns"], np.array(chunk.wall_ns) / 40)


def test_a_measurement_without_samples_gives_an_empty_frame(store: Store) -> None:
    full = samples_frame(store.measurement(measured(store, (1,))))
    empty = samples_frame(store.measurement(measured(store, ())))
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "CSV"])
def test_an_exported_frame_reads_back_the_same(tmp_path: Path, frame: pd.DataFrame, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    path.write_text("an old export")
    export(frame, path)
    if suffix == "parquet":
        back = pd.read_parquet(path)
    elif suffix == "json":
        back = pd.read_json(path, orient="records", dtype=False)
    else:
        back = pd.read_csv(path, parse_dates=["measured_at"])
    assert list(back) == list(frame)
    pd.testing.assert_frame_equal(back.astype(frame.dtypes.to_dict()), frame, rtol=1e-12)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [path.name]


@pytest.mark.parametrize("name", ["out.xlsx", "out", "missing/out.csv", "missing/out.parquet", "folder.json"])
def test_an_export_that_cannot_be_is_a_config_error_and_leaves_nothing(tmp_path: Path, frame: pd.DataFrame, name: str) -> None:
    (tmp_path / "folder.json").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=name):
        export(frame, tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_the_public_calls_read_the_store_of_a_folder_or_of_an_inventory(tmp_path: Path) -> None:
    inventory = tmp_path / "devices.toml"
    inventory.write_text('[devices.pi4]\ntransport = "local"\n')
    with pytest.raises(StoreError, match="there are no measurements"):
        harness.results(inventory=inventory)
    with Store.open(tmp_path / "results") as store:
        benchmark = measured(store, (1, 2, 3))
        latencies = samples_frame(store.measurement(benchmark)).query("role == 'candidate' and not disturbed")["latency_ns"]
    for folder in (None, tmp_path / "results"):
        frame = harness.results(model="net", inventory=inventory, results=folder)
        assert frame["latency_ms"][0] == pytest.approx(latencies.median() / 1e6, rel=0.01)
        assert len(harness.results(model="other", inventory=inventory, results=folder)) == 0
        assert len(harness.samples(benchmark, inventory=inventory, results=folder)) == 3 * 6 * 100
    with pytest.raises(StoreError, match="no measurement 99"):
        harness.samples(99, inventory=inventory)


def test_the_store_and_the_frames_do_not_load_pandas_until_asked() -> None:
    code = "import sys, harness.measure.frames, harness.measure.store; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
