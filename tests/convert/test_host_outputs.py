from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from harness.convert import host_outputs
from harness.convert.agreement import compare_outputs
from harness.convert.children import Children
from harness.convert.converter import prepare_tflite
from harness.convert.direct import DirectPrecision, write_network
from harness.convert.model import Model
from harness.networks.named import network_named
from latency_agent import protocol
from tests import models
from tests.cli import tiny_models
from tests.convert.device import run


def prepare(folder: Path, data: bytes, **shapes: tuple[int, ...]) -> Model:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return prepare_tflite(path, "m", shapes)


def test_a_given_file_is_held_against_the_hosts_plain_kernels(tmp_path: Path) -> None:
    model = prepare(tmp_path, tiny_models.add())
    assert (model.second_side, model.not_compared, model.shapes) == ("host reference kernels", None, ())
    assert model.expected is not None
    assert compare_outputs(model.expected, run(model), model.precision, "it").ok


def test_how_far_the_hosts_two_sets_of_kernels_are_apart_is_kept_for_int8(tmp_path: Path) -> None:
    precisions: tuple[DirectPrecision, ...] = ("float32", "int8")
    for precision in precisions:
        model = prepare(tmp_path, write_network(network_named("mobilenet_v2:width=0.35,resolution=96"), precision=precision))
        assert model.expected is not None
        with np.load(model.expected) as stored:
            assert ("apart_0" in stored.files) == (precision == "int8")
            if precision == "int8":
                assert 0 <= stored["apart_0"] < np.ptp(stored["output_0"])


def test_given_shapes_are_applied_and_handed_on(tmp_path: Path) -> None:
    model = prepare(tmp_path, tiny_models.dynamic(), input=(1, 5))
    assert model.shapes == (protocol.InputShape("input", (1, 5)),)
    assert model.expected is not None
    (output,) = run(model)
    assert output.shape == (1, 5)
    assert compare_outputs(model.expected, (output,), model.precision).ok


def test_the_numbers_are_computed_once(tmp_path: Path) -> None:
    first = prepare(tmp_path, tiny_models.add()).expected
    assert first is not None
    written = first.stat().st_mtime_ns
    assert prepare(tmp_path, tiny_models.add()).expected == first
    assert first.stat().st_mtime_ns == written
    first.write_bytes(b"cut short")
    prepare(tmp_path, tiny_models.add())
    assert first.stat().st_mtime_ns != written


def test_random_operators_are_not_compared(tmp_path: Path) -> None:
    assert prepare(tmp_path, models.endless()).not_compared == "random operators"


def test_a_crash_of_the_child_is_a_reason_and_no_more(tmp_path: Path) -> None:
    model = prepare(tmp_path, tiny_models.crashing())
    assert model.expected is None
    assert model.not_compared is not None
    assert "died of signal 8" in model.not_compared


def test_a_model_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_outputs, "TIMEOUT_S", 2.0)
    model = prepare(tmp_path, tiny_models.hanging())
    assert model.not_compared == "the host's runtime took more than 2 s"


def test_what_the_host_cannot_run_is_a_reason(tmp_path: Path) -> None:
    tensors = [tiny_models._tensor("input", [1, 8]), tiny_models._tensor("y", [1, 3])]
    data = tiny_models._model([tiny_models._graph(tensors, tiny_models._operator("", 0, [0], [1]))], ["RESHAPE"])
    model = prepare(tmp_path, data)
    assert model.not_compared is not None
    assert "cannot run the model" in model.not_compared


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
def test_the_child_keeps_to_its_cores(tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.add())
    assert host_outputs.write_host_outputs(path, tmp_path / "n.npz", {}, "float32", (core,), Children()).not_compared is None
    refused = host_outputs.write_host_outputs(path, tmp_path / "n.npz", {}, "float32", (9999,), Children())
    assert refused.not_compared is not None
