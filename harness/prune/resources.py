"""What a network is to have less of, as a function of its channels: mult-adds, parameters, or latency on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from harness.errors import ConfigError
from harness.prune.structure import Structure
from harness.tables.forms import Floats
from harness.tables.layers import LayerTable

Kind = Literal["latency", "mult-adds", "parameters"]


class Resource(Protocol):
    """An amount that follows from the widths of a network's groups of channels.

    It never falls as one grows (latency: as long as each layer stays in one of its table's grids).
    """

    def of(self, widths: Sequence[int]) -> float:
        """Return the amount; raises ConfigError for widths that it is not known for."""

    def covers(self, widths: Sequence[int]) -> bool:
        """Return whether the amount is known for these widths."""

    def nearest(self, widths: Sequence[int]) -> list[int]:
        """Return the nearest widths that the amount is known for."""

    def gradient(self, widths: Sequence[int]) -> Floats:
        """Return what a channel more of each group would add [groups]; raises ConfigError likewise."""

    def said(self, amount: float) -> str:
        """Return an amount with its unit."""


@dataclass(frozen=True)
class Counted:
    """The mult-adds of a network, as far as its layers are known, or its parameters."""

    structure: Structure
    kind: Literal["mult-adds", "parameters"]

    def of(self, widths: Sequence[int]) -> float:
        """Return the count."""
        if self.kind == "parameters":
            return float(self.structure.parameters(widths))
        return float(self.structure.channels.resized(widths).costs().mult_adds)

    def covers(self, widths: Sequence[int]) -> bool:  # noqa: ARG002 - there is nothing that cannot be counted
        """Return True: all can be counted."""
        return True

    def nearest(self, widths: Sequence[int]) -> list[int]:
        """Return the same widths."""
        return list(widths)

    def gradient(self, widths: Sequence[int]) -> Floats:
        """Return the derivatives; both counts are products of widths, so that a channel more and one less tell them exactly."""
        found = []
        for number in range(len(widths)):
            ends = []
            for step in (-1, 1):
                moved = list(widths)
                moved[number] = max(1, moved[number] + step)
                ends.append((self.of(moved), moved[number]))
            (low, fewer), (high, more) = ends
            found.append((high - low) / (more - fewer))
        return np.array(found)

    def said(self, amount: float) -> str:
        """Return a count of what it is."""
        return f"{amount:,.0f} {self.kind}"


def resource_of(kind: Kind, structure: Structure, table: LayerTable | None) -> Resource:
    """Return a resource of a network; raises ConfigError for latency without a table, and what `LayerTable` does."""
    if kind != "latency":
        return Counted(structure, kind)
    if table is None:
        raise ConfigError("latency is predicted by a table", "name a --device whose table was built of the network's layers")
    return table.latency(structure.channels)
