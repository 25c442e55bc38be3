"""Whether a device's outputs are those of the second side."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.convert.host_outputs import SECOND_SIDE
from harness.convert.model import Precision
from latency_agent import protocol

TOLERANCE: dict[Precision, float] = {
    # Kernels add up in another order. Seen on the named networks: up to 6e-6.
    "float32": 1e-4,
    # Weights rounded to 11 bits, and kernels may compute in half precision. Seen: up to 9e-3.
    "float16": 5e-2,
    # Weights rounded to 8 bits a channel, activations to 8 bits a run. Seen: up to 6e-2 (MobileNetV2, random weights).
    "dynamic": 2e-1,
    # All activations rounded to 8 bits and clipped to the ranges of the calibration data. Seen: up to 8e-2, with random weights; a
    # network with outliers in its weights may do worse on data that it was not calibrated for.
    "int8": 2.5e-1,
}
"""The largest error that passes, as a share of the largest expected magnitude (for dynamic and int8: of the expected range), where the
second side is the model before its conversion.

It is there to find wrong results (a wrong layer is off by about 1), not to measure what a precision costs in accuracy."""

DIFFERING: dict[Precision, float] = {"float32": 0.01, "float16": 0.1, "dynamic": 0.25, "int8": 0.25}
"""The share of whole-number outputs (classes, indices) that may differ: near ties fall either way."""

STEPS = 2
"""Quantisation steps of the output allowed on top: one for rounding, one for a range that falls between steps."""

# Where the second side ran the same .tflite file, both have the same weights and ranges, and what differs is the kernels' order of adding
# and rounding. Seen between XNNPACK (ai-edge-litert 2.3 and tflite-runtime 2.14) and the host's plain kernels, on 7 named networks and 16
# small ones with random weights:
SAME_FILE_TOLERANCE: dict[Precision, float] = {
    # Up to 1e-5.
    "float32": 1e-4,
    # Up to 6e-6: the weights are widened to float32 by both.
    "float16": 1e-4,
    # Up to 8e-2, and that is legitimate: XNNPACK rounds the activations to 8 bits by row with a zero point, the plain kernels by batch and
    # symmetrically. Each is as far from the other as from the model before its conversion.
    "dynamic": 2e-1,
    # One step where a kernel rounds a tie otherwise; later layers pass it on. 0 to 5 steps, 11 of 211 behind three layers of tanh.
    # More where a deep network ends in a flat softmax (MobileNetV3-small: 3 to 11 of 20 steps, and the host's own two sets of kernels
    # are 5 to 8 apart): see APART.
    "int8": 6e-2,
}
SAME_FILE_DIFFERING: dict[Precision, float] = {"float32": 0.01, "float16": 0.01, "dynamic": 0.25, "int8": 0.1}
SAME_FILE_STEPS = 4
APART = 2
"""How many times as far from the host's kernels as those are from the host's other set a device may be, where that is more."""


@dataclass(frozen=True)
class Agreement:
    """Whether the outputs agree, and the sentence that says how far, by which tolerance."""

    ok: bool
    text: str


def compare_outputs(
    expected: Path, outputs: Sequence[protocol.Output], precision: Precision, second_side: str = "the second side"
) -> Agreement:
    """Return whether `outputs` are what `expected` holds, within the tolerance of `precision`.

    `expected` is an .npz of output_0, output_1, ... and, where the second side has them, apart_0, apart_1, ... (see `host_outputs`).
    """
    with np.load(expected, allow_pickle=False) as stored:
        wanted = [stored[f"output_{index}"] for index in range(sum(name.startswith("output_") for name in stored.files))]
        apart = [float(stored[key]) if (key := f"apart_{index}") in stored.files else 0.0 for index in range(len(wanted))]
    if len(wanted) != len(outputs):
        return Agreement(ok=False, text=f"{len(outputs)} outputs where {second_side} has {len(wanted)}")
    results = [_compare(*one, precision, second_side) for one in zip(wanted, outputs, apart, strict=True)]
    failed = [result for result in results if not result[0].ok]
    # The worst one speaks for all: the one nearest to, or furthest beyond, its tolerance.
    return (failed[0] if failed else max(results, key=lambda result: result[1]))[0]


def _compare(
    want: npt.NDArray[np.generic], output: protocol.Output, apart: float, precision: Precision, second_side: str
) -> tuple[Agreement, float]:
    try:
        got = _decode(output)
    except (ValueError, TypeError, binascii.Error) as error:
        return Agreement(ok=False, text=f"output {output.name!r} cannot be read: {error}"), math.inf
    if got.shape != want.shape:
        return Agreement(ok=False, text=f"output {output.name!r} has the shape {got.shape}, {second_side}'s {want.shape}"), math.inf
    if want.size == 0:
        return Agreement(ok=True, text=f"equal to {second_side} (an empty output)"), 0.0
    if want.dtype.kind != "f":
        share = float(np.mean(got != want))
        allowed = (SAME_FILE_DIFFERING if second_side == SECOND_SIDE else DIFFERING)[precision]
        text = f"{share:.2%} of the values differ from {second_side}'s ({allowed:.0%} may at {precision})"
        return Agreement(ok=share <= allowed, text=text), share / allowed
    return _compare_real(want.astype(np.float64), got.astype(np.float64), output, apart, precision, second_side)


def _compare_real(
    want: npt.NDArray[np.float64],
    got: npt.NDArray[np.float64],
    output: protocol.Output,
    apart: float,
    precision: Precision,
    second_side: str,
) -> tuple[Agreement, float]:
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return Agreement(ok=False, text=f"output {output.name!r} is not finite where {second_side}'s is, or the other way round"), math.inf
    if not finite.any():
        return Agreement(ok=True, text=f"no value of {second_side}'s is finite, and none here: this says little"), 0.0
    want, got = want[finite], got[finite]
    error = float(np.abs(got - want).max())
    span = float(want.max() - want.min())
    magnitude = float(np.abs(want).max())
    by_range = precision in ("dynamic", "int8")
    scale = max(span, magnitude) if by_range else magnitude
    allowed = TOLERANCE[precision] * scale + STEPS * abs(output.scale)
    if second_side == SECOND_SIDE:
        step = abs(output.scale) or (_step(want) if precision == "int8" else 0.0)
        # Without a step, an int8 model ends in real numbers (a softmax of them), which may magnify the steps before.
        if precision != "int8" or step:
            allowed = min(allowed, SAME_FILE_TOLERANCE[precision] * scale + SAME_FILE_STEPS * step)
        allowed = max(allowed, APART * apart)
    # Below the smallest normal number there is nothing to be accurate to: some kernels flush it to zero.
    allowed += float(np.finfo(np.float32).tiny)
    text = f"within {error:.2g} of {second_side} (tolerance {allowed:.2g} at {precision})"
    if error > allowed:
        text = f"output {output.name!r} is off by {error:.3g} from {second_side} (tolerance {allowed:.2g} at {precision})"
    elif span <= allowed and want.size > 1:
        # A softmax over random weights is nearly flat: any flat output passes, and the reader should know.
        text += f"; its values span only {span:.2g}, so this says little"
    return Agreement(ok=error <= allowed, text=text), error / allowed


def _step(values: npt.NDArray[np.float64]) -> float:
    """Return the step of real values that a model quantised before it gave them out: all are multiples of it; 0.0 where there is none."""
    distinct = np.unique(np.append(values, 0.0))
    if len(distinct) < 2:
        return 0.0
    multiples = distinct / (step := float(np.diff(distinct).min()))
    return step if np.abs(multiples - np.round(multiples)).max() < 0.01 else 0.0


def _decode(output: protocol.Output) -> npt.NDArray[np.generic]:
    """Return the output's real values; raises ValueError where its bytes do not fit its type and shape."""
    dtype = np.dtype(output.dtype).newbyteorder("<")
    values = np.frombuffer(base64.b64decode(output.data_base64, validate=True), dtype).reshape(output.shape)
    if output.scale and dtype.kind in "iu":
        return (values.astype(np.float64) - output.zero_point) * output.scale
    return values
