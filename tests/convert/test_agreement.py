from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest

from harness.convert.agreement import Agreement, compare_outputs
from harness.convert.converter import Converter, prepare_tflite
from harness.convert.host_outputs import SECOND_SIDE
from harness.convert.model import Precision
from latency_agent import protocol
from tests.convert.device import run

WANT = np.linspace(-1, 2, 300, dtype=np.float32).reshape(1, 300)


def output(values: npt.NDArray[Any], scale: float = 0.0, zero_point: int = 0) -> protocol.Output:
    return protocol.Output("y", values.dtype.name, values.shape, base64.b64encode(values.tobytes()).decode(), scale, zero_point)


def compare(
    tmp_path: Path, want: npt.NDArray[Any], got: protocol.Output, precision: Precision = "float32", second_side: str = "Keras"
) -> Agreement:
    np.savez(tmp_path / "e.npz", output_0=want)
    return compare_outputs(tmp_path / "e.npz", (got,), precision, second_side)


@pytest.mark.parametrize(
    ("precision", "error", "ok"),
    [("float32", 1e-4, True), ("float32", 1e-3, False), ("float16", 1e-2, True), ("float16", 0.2, False), ("dynamic", 1.0, False)],
)
def test_the_tolerance_follows_the_precision(tmp_path: Path, precision: Precision, error: float, ok: bool) -> None:
    got = WANT.copy()
    got[0, 7] += np.float32(error)
    agreement = compare(tmp_path, WANT, output(got), precision)
    assert agreement.ok is ok
    assert "Keras (tolerance" in agreement.text


def test_quantised_outputs_are_compared_by_their_real_values(tmp_path: Path) -> None:
    scale, zero_point = 3 / 255, -43
    quantised = np.round(WANT / scale + zero_point).astype(np.int8)
    assert compare(tmp_path, WANT, output(quantised, scale, zero_point), "int8").ok
    assert not compare(tmp_path, WANT, output(quantised, scale, 40), "int8").ok


def test_a_permuted_output_is_wrong_at_every_precision(tmp_path: Path) -> None:
    for precision in ("float32", "float16", "dynamic", "int8"):
        assert not compare(tmp_path, WANT, output(WANT[:, ::-1].copy()), precision).ok


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    got = WANT.copy()
    got[0, 0] = np.nan
    assert not compare(tmp_path, WANT, output(got)).ok
    assert compare(tmp_path, got, output(got)).ok
    assert not compare(tmp_path, got, output(WANT)).ok


def test_a_flat_output_is_said_to_say_little(tmp_path: Path) -> None:
    flat = np.full((1, 1000), 1e-3, np.float32)
    agreement = compare(tmp_path, flat, output(flat))
    assert agreement.ok
    assert "says little" in agreement.text


def test_a_device_may_be_as_far_off_as_the_hosts_kernels_are_from_one_another(tmp_path: Path) -> None:
    want = np.zeros((1, 100), np.float32)
    want[0, :20] = np.arange(20, dtype=np.float32) / 256
    got = want.copy()
    got[0, 19] -= np.float32(11 / 256)
    for apart, ok in ((0.0, False), (4 / 256, False), (6 / 256, True)):
        np.savez(tmp_path / "e.npz", output_0=want, apart_0=apart)
        assert compare_outputs(tmp_path / "e.npz", (output(got),), "int8", SECOND_SIDE).ok is ok


def test_indices_are_equal_up_to_near_ties(tmp_path: Path) -> None:
    want = np.arange(100, dtype=np.int64)
    assert compare(tmp_path, want, output(want)).ok
    assert not compare(tmp_path, want, output(want[::-1].copy())).ok


def test_what_does_not_fit_is_no_agreement(tmp_path: Path) -> None:
    assert "shape" in compare(tmp_path, WANT, output(WANT.reshape(300, 1))).text
    broken = protocol.Output("y", "float32", (1, 300), "AAAA", 0.0, 0)
    assert "cannot be read" in compare(tmp_path, WANT, broken).text
    assert "cannot be read" in compare(tmp_path, WANT, protocol.Output("y", "no-type", (1,), "", 0.0, 0)).text
    np.savez(tmp_path / "two.npz", output_0=WANT, output_1=WANT)
    assert compare_outputs(tmp_path / "two.npz", (output(WANT),), "float32") == Agreement(
        ok=False, text="1 outputs where the second side has 2"
    )


@pytest.mark.parametrize("precision", get_args(Precision))
def test_two_kernels_of_one_file_agree_closely(converter: Converter, keras: Any, precision: Precision) -> None:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = features = keras.Input((24, 24, 8))
    for _ in range(3):
        features = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(32, 3, padding="same", activation="tanh")(features))
    for network in (
        keras.Model(image, layers.Conv2D(10, 1)(features)),
        keras.Model(image, layers.Dense(20, activation="softmax")(layers.Flatten()(features))),
    ):
        model = prepare_tflite(converter.submit(network, precision=precision).result().path, "m", {})
        assert model.expected is not None
        assert (model.precision, model.second_side) == (precision, SECOND_SIDE)
        assert compare_outputs(model.expected, run(model), precision, SECOND_SIDE).ok


@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-3), ("float16", 1e-3)])
def test_one_file_leaves_little_room_for_real_numbers(tmp_path: Path, precision: Precision, error: float) -> None:
    got = WANT.copy()
    got[0, 7] += np.float32(error)
    assert not compare(tmp_path, WANT, output(got), precision, SECOND_SIDE).ok
    assert compare(tmp_path, WANT, output(WANT), precision, SECOND_SIDE).ok


@pytest.mark.parametrize("dequantised", [False, True])
def test_one_file_leaves_a_few_steps_to_whole_numbers(tmp_path: Path, dequantised: bool) -> None:
    scale, zero_point = 3 / 255, -43
    quantised = np.round(WANT / scale + zero_point).astype(np.int8)
    want = ((quantised.astype(np.float64) - zero_point) * scale).astype(np.float32)
    for steps, ok in ((5, True), (25, False)):
        moved = quantised.copy()
        moved[0, 7] += steps
        real = ((moved.astype(np.float64) - zero_point) * scale).astype(np.float32)
        got = output(real) if dequantised else output(moved, scale, zero_point)
        assert compare(tmp_path, want, got, "int8", SECOND_SIDE).ok is ok
        assert compare(tmp_path, want, got, "int8").ok


def test_a_flat_result_of_few_steps_may_be_one_off(tmp_path: Path) -> None:
    want = np.zeros((1, 100), np.float32)
    want[0, :9] = np.arange(9, dtype=np.float32) / 256
    got = want.copy()
    got[0, 8] -= np.float32(1 / 256)
    assert compare(tmp_path, want, output(got), "int8", SECOND_SIDE).ok
    assert not compare(tmp_path, want, output(want * 3), "int8", SECOND_SIDE).ok
