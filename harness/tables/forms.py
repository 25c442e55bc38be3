"""How the rows of blocks make the latency of a network: forms that are linear in what their rows sum to, and how they are fitted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError, MissingBlock
from harness.networks.blocks import block_costs
from harness.tables.table import Calibrated, Origin, Row

Floats = npt.NDArray[np.float64]


def _of_weights(row: Row) -> float | None:
    """Return the part of what cold runs take longer that goes to weights, by their share of the bytes that a block reads and writes.

    In a network weights were pushed out of the caches since the last inference; what a block reads was only just written.
    """
    if row.cold_ms is None or row.block is None:
        return None
    output, costs = block_costs(row.block, row.inputs)
    values = sum(map(math.prod, row.inputs)) + math.prod(output)
    return (row.cold_ms - row.warm_ms) * costs.weights / (costs.weights + values)


COLUMNS: dict[str, Callable[[Row], float | None]] = {
    "warm": lambda row: row.warm_ms,
    "penalty": lambda row: None if row.cold_ms is None else row.cold_ms - row.warm_ms,
    "weights": _of_weights,
    "chain": lambda row: row.chain_ms,
    "mult_adds": lambda row: None if row.block is None else block_costs(row.block, row.inputs)[1].mult_adds / 1e8,
}
"""What is summed over the blocks of a network, in ms, or of mult-adds in hundred millions; None where a row does not tell."""

CONSTANT = "constant"
"""The column that is 1 for every network."""


@dataclass(frozen=True)
class Form:
    """The latency of a network is what `base` sums to, and a fitted coefficient times each of the `free` columns."""

    name: str
    formula: str
    base: str | None
    free: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What its rows must tell."""
        return tuple(column for column in (self.base, *self.free) if column is not None and column != CONSTANT)

    def per_block(self, row: Row, coefficients: Sequence[float]) -> float | None:
        """Return what one block adds to a network, in ms; None where the row does not tell all that the form needs."""
        total = 0.0
        for column, coefficient in ((self.base, 1.0), *zip(self.free, coefficients, strict=True)):
            if column is None or column == CONSTANT:
                continue
            value = COLUMNS[column](row)
            if value is None:
                return None
            total += coefficient * value
        return total

    def per_network(self, coefficients: Sequence[float]) -> float:
        """Return what a network takes beyond its blocks, in ms."""
        return sum(coefficient for column, coefficient in zip(self.free, coefficients, strict=True) if column == CONSTANT)


FORMS = {
    form.name: form
    for form in (
        Form("sum", "sum of warm", "warm", ()),  # OFA's and ProxylessNAS's
        Form("cold_penalty", "sum of warm + beta x (cold - warm)", "warm", ("penalty",)),
        Form("cold_weights", "sum of warm + beta x weights' share of (cold - warm)", "warm", ("weights",)),
        Form("affine", "a + b x sum of warm", None, (CONSTANT, "warm")),
        Form("chain", "a + b x sum of slopes of chains", None, (CONSTANT, "chain")),
        # Blocks that are quick for their mult-adds are more often measured too quick than too slow: a line through both draws them back.
        Form("affine_mult_adds", "a + b x sum of warm + c x mult-adds", None, (CONSTANT, "warm", "mult_adds")),
        Form("affine_weights", "a + b x sum of warm + c x weights' share of (cold - warm)", None, (CONSTANT, "warm", "weights")),
    )
}
"""Forms by their names, those with fewer coefficients first."""


@dataclass(frozen=True)
class Fit:
    """A form fitted to networks: least squares on errors relative to what was measured.

    `errors` are measured less predicted over measured [networks]; `left_out` the same with each predicted from all the others. `spread`
    is the standard deviation of a network's error, `inverse` the inverse of the normal matrix [coefficients, coefficients], which
    says how sure the coefficients are, on `degrees` degrees of freedom.
    """

    form: Form
    coefficients: tuple[float, ...]
    errors: Floats
    left_out: Floats
    spread: float
    inverse: Floats
    degrees: int

    @property
    def mape(self) -> float:
        """The mean size of the errors of networks that were left out (leave-one-out cross-validation)."""
        return float(np.abs(self.left_out).mean())


def check_known(keys: Sequence[str], rows: Mapping[str, Row], origin: Origin) -> None:
    """Raise MissingBlock where there is no row for some of the keys."""
    if missing := tuple(dict.fromkeys(key for key in keys if key not in rows)):
        raise missing_blocks(missing, origin)


def missing_blocks(keys: tuple[str, ...], origin: Origin) -> MissingBlock:
    """Return the error that names blocks without a row, and what measures them."""
    hint = f"measure them on {origin.device}: harness table predict TABLE NETWORK... --complete"
    return MissingBlock(keys, origin.device, hint)


def fit(form: Form, networks: Sequence[Calibrated], rows: Mapping[str, Row]) -> Fit:
    """Return a form fitted to networks, each of whose blocks must have a row.

    Raises ConfigError where it cannot be: a row does not tell what the form needs, or there are too few networks to tell coefficients
    from chance (two more than coefficients at least).
    """
    if len(networks) < len(form.free) + 2:
        raise ConfigError(f"{len(networks)} networks do not tell {len(form.free)} coefficients", f"measure {len(form.free) + 2} or more")
    measured = np.array([network.measured_ms for network in networks])
    base = np.zeros(len(networks)) if form.base is None else _sums(form.base, networks, rows)
    free = [np.ones(len(networks)) if column == CONSTANT else _sums(column, networks, rows) for column in form.free]
    design = np.stack(free, axis=1) / measured[:, None] if free else np.zeros((len(networks), 0))
    target = (measured - base) / measured
    coefficients, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    if rank < len(form.free):
        raise ConfigError("the networks are too alike to tell its coefficients", "measure networks of other sizes")
    inverse = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    if leverage.max(initial=0.0) > 1 - 1e-9:
        raise ConfigError("one network alone tells one of its coefficients", "measure more networks")
    errors = target - design @ coefficients
    left_out = errors / (1 - leverage)  # the errors of all refits without one network, without refitting (Allen 1974, PRESS)
    spread = math.sqrt(float((errors * left_out).mean()))
    return Fit(form, tuple(map(float, coefficients)), errors, left_out, spread, inverse, len(networks) - len(form.free))


def _sums(column: str, networks: Sequence[Calibrated], rows: Mapping[str, Row]) -> Floats:
    told = COLUMNS[column]
    sums = []
    for network in networks:
        values = [told(rows[key]) for key in network.keys]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            key = network.keys[values.index(None)]
            raise ConfigError(f"the row of {key} has no {_MEASURED[column]}", "measure it for all blocks")
        sums.append(math.fsum(known))
    return np.array(sums)


_MEASURED = {
    "warm": "warm latency",
    "penalty": "cold latency",
    "weights": "cold latency of a known block",
    "chain": "slope of chains",
    "mult_adds": "known block",
}
