"""What candidates use, told for many at once from their tokens: latency by a table, mult-adds, the size of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks.graph import Precision
from harness.networks.space import Space
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
    """Latency in ms, predicted from a table. Several devices in one search take names of their own."""

    table: LatencyTable
    space: Space
    name: str = "latency_ms"

    def __post_init__(self) -> None:
        origin = self.table.origin
        if origin.space is not None and origin.space != self.space.name:
            raise ConfigError(
                f"the table of {origin.device} holds blocks of {origin.space}, not of {self.space.name}",
                f"build one: harness table build {self.space.name} --device {origin.device}",
            )

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return predictions; raises MissingBlock that names what must be measured first."""
        if any(stage.skips for stage in self.space.stages):
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
