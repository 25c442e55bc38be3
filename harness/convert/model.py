"""A model: a .tflite file, known by its SHA-256."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from latency_agent import protocol

Precision = Literal["float32", "float16", "dynamic", "int8"]


@dataclass(frozen=True)
class Tensor:
    """An input or output: its shape (-1 where dynamic) and numpy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Model:
    """A .tflite file on the host.

    `name` is what the user asked for. `expected` is an .npz with the outputs (`output_0`, `output_1`, ...) of the second side on the
    seeded input (see `agreement`), or None where there is nothing to compare with, for the reason in `not_compared`. `second_side`
    says what computed them ("Keras", "host reference kernels"). `note` is what the reader of a result must know
    ("int8 calibrated on random data"). `shapes` is what the runtime must be told before it can run the file.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    precision: Precision
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    second_side: str | None
    expected: Path | None
    not_compared: str | None
    note: str | None
    shapes: tuple[protocol.InputShape, ...] = ()
