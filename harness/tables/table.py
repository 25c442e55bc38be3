"""A latency table as data: rows of blocks, the device they were measured on, and how far predictions from them can be wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.errors import ConfigError
from harness.files import StrPath
from harness.networks.blocks import Block, DropoutLayer, block_key
from harness.networks.graph import Shape
from harness.networks.layers import without_place
from harness.networks.network import Network
from harness.tables.reading import is_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from harness.networks.space import Space
    from harness.tables.predict import Prediction, Predictions, Predictor


@dataclass(frozen=True)
class Row:
    """One block on inputs of these shapes. A row of another tool's table whose block is none of ours has no block, and a key of its own.

    `warm_ms` is the latency of runs in a row, `cold_ms` that with nothing of the model left in the caches, `chain_ms` what each block
    adds to a chain of the same; None: not measured. `interval_ms` is the 95% interval of `warm_ms`, `spread_ms` its standard
    deviation from process to process. The store finds the samples by `measurement_ids`: of warm, cold and chain, as far as there are such.
    """

    key: str
    block: Block | None
    inputs: tuple[Shape, ...]
    warm_ms: float
    cold_ms: float | None = None
    chain_ms: float | None = None
    interval_ms: tuple[float, float] | None = None
    spread_ms: float | None = None
    samples: int = 0
    processes: int = 0
    disturbed_share: float = 0.0
    measurement_ids: tuple[int, ...] = ()
    measured_at: datetime | None = None

    def __post_init__(self) -> None:
        _check_text("its key", self.key)
        for name in ("warm_ms", "cold_ms", "chain_ms", "spread_ms", "samples", "processes", "disturbed_share"):
            _check_amount(name, getattr(self, name))
        if not all(size > 0 for shape in self.inputs for size in shape):
            raise ConfigError(f"its inputs are {list(self.inputs)}", "expected: whole numbers from 1 on")
        if self.interval_ms is not None:
            low, high = self.interval_ms
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ConfigError(f"interval_ms is {low} to {high}", "expected: two numbers, the lower one first")
        if self.disturbed_share > 1:
            raise ConfigError(f"disturbed_share is {self.disturbed_share}", "expected: a number from 0 to 1")
        if self.block is not None and (known := block_key(self.block, self.inputs)) != self.key:
            raise ConfigError(f"its key is not that of its block, {known}", "one of the two was changed: build the table again")

    @classmethod
    def of(cls, block: Block, inputs: tuple[Shape, ...], warm_ms: float) -> Self:
        """Return a row that says no more than the block's latency; `dataclasses.replace` adds the rest."""
        return cls(block_key(block, inputs), block, inputs, warm_ms)


@dataclass(frozen=True)
class Origin:
    """Where the rows come from. What is None is unknown, as of a table that another tool made.

    `method` is the version of how samples are taken (`measure.samples.METHOD_VERSION`); `space` names the search space whose blocks
    were listed, None where they are those of single networks. `reference_ns` is what the mobile reference model took at the speed that
    the rows are given for.
    """

    device: str
    fingerprint: str | None
    cpu_model: str | None
    runtime: str | None
    runtime_version: str | None
    cores: tuple[int, ...]
    governor: str | None
    threads: int | None
    precision: str | None
    space: str | None
    method: int | None
    began_at: datetime | None
    ended_at: datetime | None
    harness_version: str
    reference_ns: float | None = None

    def __post_init__(self) -> None:
        _check_text("the device's name", self.device)
        for name, amount in (("reference_ns", self.reference_ns), ("threads", self.threads)):
            if amount is not None and not (math.isfinite(amount) and amount > 0):
                raise ConfigError(f"{name} is {amount}", "expected: a number above 0")
        if any(core < 0 for core in self.cores):
            raise ConfigError(f"cores are {list(self.cores)}", "expected: whole numbers from 0 on")

    def differences(self, other: Origin) -> tuple[str, ...]:
        """Return which settings tell that two tables do not measure the same thing, such as "threads 1 and 2"."""
        shown = ((name, getattr(self, name), getattr(other, name)) for name in _IDENTITY)
        return tuple(f"{name} {_text(one)} and {_text(two)}" for name, one, two in shown if one != two)


_IDENTITY = ("fingerprint", "runtime", "runtime_version", "cores", "governor", "threads", "precision", "method")


@dataclass(frozen=True)
class Calibrated:
    """A whole network that was measured with the blocks. `keys` are those of its blocks that take time, in their order.

    `repeatability` is the relative standard deviation of `measured_ms` from one measurement to another, None where it is not known.
    """

    name: str
    keys: tuple[str, ...]
    measured_ms: float
    repeatability: float | None = None
    measurement_id: int | None = None

    def __post_init__(self) -> None:
        _check_amount("measured_ms", self.measured_ms)
        _check_amount("repeatability", self.repeatability)
        if not self.measured_ms:
            raise ConfigError("measured_ms is 0", "expected: a time above 0")

    @classmethod
    def of(cls, network: Network, measured_ms: float, repeatability: float | None = None, measurement_id: int | None = None) -> Self:
        """Return what was measured of a network."""
        return cls(network.name, keys_of(network), measured_ms, repeatability, measurement_id)


@dataclass(frozen=True)
class Score:
    """What cross-validation says of a form: its mean absolute error as a share of the measured latency, None where it cannot be fitted.

    `coefficients` is how many were fitted; `why` says why it was not chosen, or could not be fitted.
    """

    form: str
    coefficients: int
    mape: float | None
    why: str = ""

    def __post_init__(self) -> None:
        _check_amount("mape", self.mape)


@dataclass(frozen=True)
class Calibration:
    """How rows make a prediction: the form that cross-validation chose, its coefficients, and what it was chosen from."""

    form: str
    coefficients: tuple[float, ...]
    scores: tuple[Score, ...]
    networks: tuple[Calibrated, ...]

    def __post_init__(self) -> None:
        for value in self.coefficients:
            if not math.isfinite(value):
                raise ConfigError(f"a coefficient is {value}", "expected: finite numbers")


@dataclass(frozen=True)
class HeldOut:
    """How far predictions were from measurements of networks that had no part in the calibration.

    Errors are predicted over measured less 1: `within_5` and `within_10` the shares of networks within 5% and 10%, `mape` the mean of
    their size, `bias` their mean. `tau` is Kendall's rank correlation, None where there is none to compute. `coverage` is the share of
    measurements inside the 95% interval of their prediction. `repeatability` is the relative standard deviation of the measurements that
    were held to be the truth, `measured` these themselves, as far as they are kept.
    """

    networks: int
    within_5: float
    within_10: float
    mape: float
    rmse_ms: float
    bias: float
    tau: float | None = None
    coverage: float | None = None
    repeatability: float | None = None
    measured: tuple[Calibrated, ...] = ()

    def __post_init__(self) -> None:
        for name in ("networks", "within_5", "within_10", "mape", "rmse_ms", "coverage", "repeatability"):
            _check_amount(name, getattr(self, name))
        for name in ("within_5", "within_10", "coverage", "tau"):
            if (value := getattr(self, name)) is not None and not abs(value) <= 1:
                raise ConfigError(f"{name} is {value}", "expected: no more than 1")


@dataclass(frozen=True)
class LatencyTable:
    """What the blocks of networks take on one device, under one runtime, with one number of threads, at one precision.

    `LatencyTable.load(path).predict(network)` tells what a network takes, with an interval; a block without a row raises MissingBlock.
    """

    origin: Origin
    rows: tuple[Row, ...]
    calibration: Calibration | None = None
    held_out: HeldOut | None = None

    def __post_init__(self) -> None:
        twice = [key for key, count in Counter(row.key for row in self.rows).items() if count > 1]
        if twice:
            raise ConfigError(f"{twice[0]} has {'two rows' if len(twice) == 1 else 'two rows, as others have'}", "keep one of them")
        if not self.rows:
            raise ConfigError("a latency table without rows", "there is nothing to predict from: build it again")

    @classmethod
    def load(cls, path: StrPath) -> LatencyTable:
        """Return the table of a file that `save` wrote; raises ConfigError that says what is wrong with it, and where."""
        from harness.tables.table_file import read_table

        return read_table(Path(path))

    def save(self, path: StrPath) -> Path:
        """Write it as JSON, a row a line, and return the path; a reader finds the old file or the whole new one."""
        from harness.tables.table_file import write_table

        return write_table(self, Path(path))

    @cached_property
    def by_key(self) -> dict[str, Row]:
        """Its rows by their keys."""
        return {row.key: row for row in self.rows}

    def missing(self, network: Network) -> tuple[str, ...]:
        """Return the keys of a network's blocks that have no row, each once."""
        return tuple(dict.fromkeys(key for key in keys_of(network) if key not in self.by_key))

    def with_rows(self, rows: Iterable[Row]) -> LatencyTable:
        """Return the table with rows added, or put in place of those of the same key.

        The calibration and the held-out error stay only where none of their networks' rows is replaced: they were found with those. Where
        its form makes a new row take less than no time, another one is chosen.
        """
        new = {row.key: row for row in rows}
        networks = (*(self.calibration.networks if self.calibration else ()), *(self.held_out.measured if self.held_out else ()))
        found_with = {key for network in networks for key in network.keys}
        kept = all(self.by_key.get(key, row) == row for key, row in new.items() if key in found_with or not networks)
        together = tuple((self.by_key | new).values())
        if kept:
            return _positive(replace(self, rows=together))
        return replace(self, rows=together, calibration=None, held_out=None)

    def merged(self, other: LatencyTable) -> LatencyTable:
        """Return a table with the rows of both, the later one where both have a block; uncalibrated where any of its own is replaced.

        Raises ConfigError where the two are of another device, runtime, core, governor, number of threads or precision.
        """
        if differences := self.origin.differences(other.origin):
            what = f"tables of {self.origin.device} and {other.origin.device} do not mix: {'; '.join(differences)}"
            raise ConfigError(what, "measure the missing blocks under this table's own settings")
        if self.origin.fingerprint is None:
            raise ConfigError(
                f"tables of {self.origin.device} and {other.origin.device} do not mix: neither says which device it was measured on"
            )
        own = self.by_key
        later = [row for row in other.rows if row.key not in own or _moment(row) > _moment(own[row.key])]
        began = [one.began_at for one in (self.origin, other.origin) if one.began_at is not None]
        ended = [one.ended_at for one in (self.origin, other.origin) if one.ended_at is not None]
        origin = replace(self.origin, began_at=min(began, default=None), ended_at=max(ended, default=None))
        return replace(self.with_rows(later), origin=origin)

    @cached_property
    def predictor(self) -> Predictor:
        """What turns networks into predictions."""
        from harness.tables.predict import Predictor

        return Predictor(self)

    def predict(self, network: Network) -> Prediction:
        """Return what a network takes; raises MissingBlock that names the blocks without a row."""
        return self.predictor.predict(network)

    def predict_many(self, networks: Iterable[Network]) -> Predictions:
        """Return what networks take, as arrays; raises MissingBlock as `predict` does, for all of them at once."""
        return self.predictor.predict_many(networks)

    def predict_tokens(self, space: Space, tokens: npt.NDArray[np.integer]) -> Predictions:
        """Return what the candidates of a space take, from an array of tokens [candidates, positions]; raises MissingBlock likewise."""
        return self.predictor.predict_tokens(space, tokens)


def _positive(table: LatencyTable) -> LatencyTable:
    """Return a table, with another form where the one that was chosen makes a row take less than no time."""
    from harness.tables.calibrate import calibrate, negative_by

    if table.calibration is None or not negative_by(table, table.calibration):
        return table
    return replace(table, calibration=calibrate(table, table.calibration.networks), held_out=None)


def timed(block: Block) -> bool:
    """Return whether a block takes time when a network runs: dropout is left out of a model for inference."""
    return not isinstance(without_place(block), DropoutLayer)


def keys_of(network: Network) -> tuple[str, ...]:
    """Return the keys of the blocks that take time, in the order they run, repeated as often as they occur."""
    return tuple(key for block, key in zip(network.blocks, network.block_keys, strict=True) if timed(block))


def _check_text(name: str, value: str) -> None:
    if not is_text(value):
        raise ConfigError(f"{name} is {value!r}, which cannot be written", "expected: a text")


def _check_amount(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name} is {value}", "expected: a finite number from 0 on")


def _moment(row: Row) -> float:
    return -math.inf if row.measured_at is None else row.measured_at.timestamp()


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "unknown"
    return "unknown" if value is None else str(value)
