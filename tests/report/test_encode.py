from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import datetime

from harness.measure.result import FailedResult, Result
from harness.report.encode import rows_to_json, samples_to_json, to_json
from tests.report import given


def test_a_result_becomes_an_object_with_each_of_its_fields() -> None:
    given_result = given.result()
    data = json.loads(json.dumps(to_json(given_result), allow_nan=False))
    assert set(data) == {field.name for field in fields(Result)}
    assert data["interval_ms"] == [3.38, 3.444]
    assert data["cores"] == [1]
    assert data["governor"] is None
    assert datetime.fromisoformat(data["measured_at"]) == given_result.measured_at


def test_what_is_absent_is_null() -> None:
    data = to_json(given.result(interval_ms=None, latency_corrected_ms=None))
    assert data["interval_ms"] is None
    assert data["latency_corrected_ms"] is None
    assert to_json(given.result(p99_ms=math.nan))["p99_ms"] is None


def test_a_failure_has_model_and_error() -> None:
    assert to_json(FailedResult("x.tflite", "local", "no such file")) == {
        "model": "x.tflite",
        "device": "local",
        "error": "no such file",
        "stderr_tail": "",
    }


def test_samples_come_as_columns_of_each_repetition() -> None:
    frame = given.samples(processes=2, chunks=4, per_chunk=5)
    repetitions = json.loads(json.dumps(samples_to_json(frame), allow_nan=False))
    assert [repetition["repetition"] for repetition in repetitions] == [0, 1]
    first = frame[frame["repetition"] == 0]
    assert set(repetitions[0]) == set(frame.columns)
    assert repetitions[0]["wall_ns"] == first["wall_ns"].tolist()
    assert repetitions[0]["role"][:5] == ["candidate"] * 5
    assert {type(flag) for flag in repetitions[0]["disturbed"]} == {bool}


def test_rows_of_a_frame_keep_their_types_and_lose_their_nans() -> None:
    first, second = json.loads(json.dumps(rows_to_json(given.stored()), allow_nan=False))
    assert first["interval_low_ms"] == 3.38
    assert first["error"] is None
    assert first["runs"] == 2_400
    assert second["latency_ms"] is None
    assert second["threads"] is None
    assert second["error"] == "it is empty\nmore"
    assert datetime.fromisoformat(second["measured_at"]) == given.result().measured_at
