from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.convert.agreement import Agreement, compare_outputs
from harness.convert.model import Precision
from latency_agent import protocol

WANT = np.linspace(-1, 2, 300, dtype=np.float32).reshape(1, 300)


def output(values: npt.NDArray[Any], scale: float = 0.0, zero_point: int = 0) -> protocol.Output:
    return protocol.Output("y", values.dtype.name, values.shape, base64.b64encode(values.tobytes()).decode(), scale, zero_point)


def compare(tmp_path: Path, want: npt.NDArray[Any], got: protocol.Output, precision: Precision = "float32") -> Agreement:
    np.savez(tmp_path / "e.npz", output_0=want)
    return compare_outputs(tmp_path / "e.npz", (got,), precision, "Keras")


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
