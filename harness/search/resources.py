"""What candidates use, told for many at once from their tokens: latency by a table, mult-adds, the size of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks.blocks import block_key
from harness.networks.graph import Precision
from harness.networks.memory import most_live_bytes
from harness.networks.space import Space
from harness.tables.listing import blocks_of_space
from harness.tables.table import LatencyTable

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Amounts:
    """Amounts of a resource [candidates], not a number where there is none, and the ends of their 95% intervals [candidates, 2] if any."""

    values: Floats
    intervals: Floats | None = None


class Resource(Protocol):
    """Something that candidates use; `name` carries its unit, such as latency_ms."""

    @property
    def name(self) -> str:
        """What targets call it."""

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return how much candidates use, from their tokens [candidates, positions]."""


@dataclass(frozen=True, eq=False)
class TableLatency:
    """Latency in ms, predicted from a table that has every block of the space; raises ConfigError for another one.

    Several devices in one search take names of their own.
    """

    table: LatencyTable
    space: Space
    name: str = "latency_ms"

    def __post_init__(self) -> None:
        if self.space.skips:
            return  # its blocks cannot be listed: each candidate tells its own
        keys = [block_key(block, shapes) for block, shapes in blocks_of_space(self.space)]
        missing = [key for key in keys if self.table.predictor.row(key) is None]
        if missing:
            origin = self.table.origin
            of = "networks" if origin.space is None else origin.space
            hint = f"build one: harness table build {self.space.name} --device {origin.device}"
            if origin.space == self.space.name:
                hint = "as where data have other classes; they are measured and added by --complete"
            what = f"the table of {origin.device}, built for {of}, lacks {len(missing)} of the {len(keys)} blocks of {self.space.name}"
            raise ConfigError(what, f"first {missing[0]}\n{hint}")

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return predictions; raises MissingBlock that names what must be measured first."""
        if self.space.skips:
            found = self.table.predict_many(self.space.network(tuple(line)) for line in tokens.tolist())
        else:
            found = self.table.predict_tokens(self.space, tokens)
        return Amounts(found.latency_ms, found.interval_ms)


@dataclass(frozen=True, eq=False)
class MultAdds:
    """Mult-adds of the network: what latency is to be told apart from."""

    space: Space
    name: str = "mult_adds"

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return exact counts."""
        return Amounts(np.array([self.space.costs(tuple(line)).mult_adds for line in tokens.tolist()], dtype=np.float64))


@dataclass(frozen=True, eq=False)
class ModelSize:
    """Bytes of the model's weights."""

    space: Space
    precision: Precision = "float32"
    name: str = "size_bytes"

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return exact sizes."""
        sizes = [self.space.costs(tuple(line)).weight_bytes(self.precision) for line in tokens.tolist()]
        return Amounts(np.array(sizes, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Memory:
    """Bytes of the model's weights and of the values that are alive at once while it runs: the least that it can be run in."""

    space: Space
    precision: Precision = "float32"
    name: str = "memory_bytes"

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return exact sizes."""
        networks = [self.space.network(tuple(line)) for line in tokens.tolist()]
        sizes = [one.weight_bytes(self.precision) + most_live_bytes(*one.graph(), self.precision) for one in networks]
        return Amounts(np.array(sizes, dtype=np.float64))
