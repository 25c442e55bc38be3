"""What whole networks take, from the rows of their blocks. Pure: no files, no devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError, MissingBlock
from harness.networks.blocks import Block, block_costs, block_key
from harness.networks.graph import Shape
from harness.networks.network import Network
from harness.tables.calibrate import refitted
from harness.tables.forms import COLUMNS, CONSTANT, FORMS, Floats, missing_blocks
from harness.tables.interval import HalfWidth, relative_spreads
from harness.tables.table import keys_of, timed

if TYPE_CHECKING:
    from harness.networks.space import Space
    from harness.tables.candidates import Candidates
    from harness.tables.table import LatencyTable

_MOST_SEEN = 100_000


@dataclass(frozen=True)
class Prediction:
    """What a network takes. In the 95% interval a measurement of it would lie; None where the table is not calibrated."""

    latency_ms: float
    interval_ms: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What networks take: latencies [networks] and the ends of their 95% intervals [networks, 2], None without a calibration."""

    latency_ms: Floats
    interval_ms: Floats | None

    def __len__(self) -> int:
        return len(self.latency_ms)

    def __iter__(self) -> Iterator[Prediction]:
        latencies_ms = self.latency_ms.tolist()
        ends_ms = [None] * len(self) if self.interval_ms is None else map(tuple, self.interval_ms.tolist())
        return map(Prediction, latencies_ms, ends_ms)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a shape is handed on between two blocks, and which blocks were seen to read it: their rows, and the places behind them."""

    shape: Shape
    seen: dict[int, tuple[Block, int | None, _Place]]


class Predictor:
    """Predicts by a table, in the form of its calibration; without one by the sum of its rows.

    `columns` is how many numbers `sums` returns; `constant_ms` is what a network takes beyond its blocks.
    """

    def __init__(self, table: LatencyTable) -> None:
        self._origin = table.origin
        calibration = table.calibration
        fit = None if calibration is None else refitted(table, calibration)
        form, coefficients = (FORMS["sum"], ()) if fit is None else (fit.form, fit.coefficients)
        self.constant_ms = form.per_network(coefficients)
        fitted = [COLUMNS[column] for column in form.free if column != CONSTANT]
        self.columns = 2 + len(fitted)
        spreads = relative_spreads(table.by_key)
        self._rows: dict[str, int] = {}
        self._summed: list[list[float]] = [[] for _ in range(1 + len(fitted))]
        self._spreads_ms: list[float] = []
        for key, row in table.by_key.items():
            value = form.per_block(row, coefficients)
            if value is not None:
                self._rows[key] = len(self._spreads_ms)
                self._spreads_ms.append(spreads[key] * value)
                for numbers, number in zip(self._summed, (value, *(column(row) or 0.0 for column in fitted)), strict=True):
                    numbers.append(number)
        self._half_width = None
        if fit is not None and calibration is not None:
            sums = [self.sums([self._rows[key] for key in network.keys]) for network in calibration.networks]
            usual = float(np.mean([variance / (latency_ms + self.constant_ms) ** 2 for latency_ms, variance, *_ in sums]))
            self._half_width = HalfWidth(fit, usual)
        self._places: dict[Shape, _Place] = {}
        self._candidates: dict[int, Candidates] = {}

    def predict(self, network: Network) -> Prediction:
        """Return what a network takes; raises MissingBlock that names the blocks without a row."""
        latency_ms, variance, *columns = self.sums(self._rows_of(network))
        latency_ms += self.constant_ms
        if latency_ms <= 0:
            raise _too_small(latency_ms)
        if self._half_width is None:
            return Prediction(latency_ms, None)
        half_ms = self._half_width.of(latency_ms, variance, columns)
        return Prediction(latency_ms, (max(0.0, latency_ms - half_ms), latency_ms + half_ms))

    def predict_many(self, networks: Iterable[Network]) -> Predictions:
        """Return what networks take; raises MissingBlock that names the blocks without a row of all of them."""
        sums: list[list[float]] = []
        missing: list[str] = []
        for network in networks:
            try:
                sums.append(self.sums(self._rows_of(network)))
            except MissingBlock as error:
                missing += error.keys
        self.check_known(missing)
        return self.of_sums(np.array(sums, dtype=np.float64).reshape(-1, self.columns))

    def predict_tokens(self, space: Space, tokens: npt.NDArray[np.integer]) -> Predictions:
        """Return what candidates of a space take, from their tokens [candidates, positions]; raises MissingBlock likewise."""
        from harness.tables.candidates import Candidates

        if id(space) not in self._candidates:
            self._candidates[id(space)] = Candidates(space, self)
        return self.of_sums(self._candidates[id(space)].sums(tokens))

    def of_sums(self, sums: Floats) -> Predictions:
        """Return the predictions of networks whose blocks add up to `sums` [networks, columns]."""
        latency_ms, variance, *columns = sums.T
        latency_ms = latency_ms + self.constant_ms
        if latency_ms.min(initial=1.0) <= 0:
            raise _too_small(float(latency_ms.min()))
        if self._half_width is None:
            return Predictions(latency_ms, None)
        half_ms = self._half_width.of(latency_ms, variance, columns)
        return Predictions(latency_ms, np.stack([np.maximum(0.0, latency_ms - half_ms), latency_ms + half_ms], axis=1))

    def sums(self, rows: Sequence[int]) -> list[float]:
        """Return what blocks add up to: latency (ms), its variance from their rows' own (ms^2), and each fitted column.

        What a row is wrong by, it is in each place where its block stands: repetitions add up before they are squared.
        """
        spreads_ms = self._spreads_ms
        variance = 0.0
        for row, count in Counter(rows).items():
            variance += (count * spreads_ms[row]) ** 2
        latency_ms, *columns = [sum(map(numbers.__getitem__, rows)) for numbers in self._summed]
        return [latency_ms, variance, *columns]

    def row(self, key: str) -> int | None:
        """Return the number of a block's row by which `sums` knows it, None where there is none that tells what the form needs."""
        return self._rows.get(key)

    def block_ms(self, key: str) -> float:
        """Return what a block adds to a network, in ms; raises MissingBlock."""
        row = self._rows.get(key)
        if row is None:
            raise missing_blocks((key,), self._origin)
        return self._summed[0][row]

    def check_known(self, missing: Sequence[str]) -> None:
        """Raise MissingBlock where any keys are missing."""
        if missing:
            raise missing_blocks(tuple(dict.fromkeys(missing)), self._origin)

    def _rows_of(self, network: Network) -> list[int]:
        """Return the rows of a network's blocks; raises MissingBlock."""
        found = []
        here = self._places.get(network.input) or self._place(network.input)
        for block in network.blocks:
            known = here.seen.get(id(block)) or self._see(block, here)
            if known is None:
                return self._looked_up(network)
            _, row, here = known
            if row is not None:
                found.append(row)
        return found

    def _see(self, block: Block, here: _Place) -> tuple[Block, int | None, _Place] | None:
        """Return a block, its row where it takes time, and the place behind it; None where its key must be asked of its network.

        Candidates of a space share their blocks, which are then known by what they are in memory: hashing one takes ten times as long.
        """
        inputs = (here.shape,)
        row = self._rows.get(block_key(block, inputs)) if timed(block) else None
        if type(block).reads is not Block.reads or (row is None and timed(block)):
            return None
        if len(here.seen) >= _MOST_SEEN:
            here.seen.clear()
        known = here.seen[id(block)] = (block, row, self._place(block_costs(block, inputs)[0]))
        return known

    def _place(self, shape: Shape) -> _Place:
        return self._places.setdefault(shape, _Place(shape, {}))

    def _looked_up(self, network: Network) -> list[int]:
        rows = [self._rows.get(key) for key in keys_of(network)]
        self.check_known([key for key, row in zip(keys_of(network), rows, strict=True) if row is None])
        return [row for row in rows if row is not None]


def _too_small(latency_ms: float) -> ConfigError:
    what = f"the form of the table's calibration makes {latency_ms:.3g} ms of a network: it is far smaller than those it was fitted to"
    return ConfigError(what, "calibrate with networks of its size")
