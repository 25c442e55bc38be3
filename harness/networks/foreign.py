"""Operations that only models from elsewhere have: no block stands for them, and no latency table tells what they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.networks.graph import Operation, Shape


@dataclass(frozen=True)
class Norm(Operation):
    """Batch norm by itself."""

    name: ClassVar[str] = "batch norm behind no convolution"

    def parameters(self, shapes: Sequence[Shape]) -> int:
        """Return a scale and a shift for each channel."""
        return 2 * shapes[0][-1]


@dataclass(frozen=True)
class Foreign(Operation):
    """An operation by its name, of which no more is known than the shape that it gives, and whether it `keeps_channels`.

    It does where each channel of the output comes of the channel in the same place of its inputs alone. Its shape is told without the
    channels then, as those may change.
    """

    name: str
    shape: Shape
    keeps_channels: bool = False

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Return its shape."""
        return (*self.shape, shapes[0][-1]) if self.keeps_channels else self.shape
