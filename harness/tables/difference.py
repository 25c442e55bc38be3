"""Two latency tables beside each other: two devices, or one at two dates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import ConfigError
from harness.tables.table import LatencyTable, Row


@dataclass(frozen=True)
class RowPair:
    """A block that both tables have.

    `ratio` is B's warm latency over A's, `apart` whether their 95% intervals leave a gap, None where one has no interval.
    """

    key: str
    type: str
    a_ms: float
    b_ms: float
    ratio: float
    apart: bool | None


@dataclass(frozen=True)
class Difference:
    """What tells two tables apart. `settings` are those that differ, `pairs` the common blocks, those that differ most first.

    `median_ratio`, and `p5_ratio` and `p95_ratio`, are of the pairs' ratios; `apart_share` is the share of pairs whose intervals leave a
    gap, of those that have both, None where none has.
    """

    a: str
    b: str
    settings: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    median_ratio: float
    p5_ratio: float
    p95_ratio: float
    apart_share: float | None
    pairs: tuple[RowPair, ...]


def difference(a: LatencyTable, b: LatencyTable) -> Difference:
    """Return what tells two tables apart; raises ConfigError where threads or precision differ, or no block is in both."""
    for name in ("threads", "precision"):
        one, two = getattr(a.origin, name), getattr(b.origin, name)
        if one != two:
            raise ConfigError(
                f"the tables are of {name} {one} and {two}: what differs is not the device or the date", "compare like with like"
            )
    pairs = [_pair(row, b.by_key[row.key]) for row in a.rows if row.key in b.by_key and row.warm_ms and b.by_key[row.key].warm_ms]
    if not pairs:
        raise ConfigError(f"the tables of {a.origin.device} and {b.origin.device} have no block in common", "compare tables of one space")
    ratios = np.array([pair.ratio for pair in pairs])
    known = [pair.apart for pair in pairs if pair.apart is not None]
    low, middle, high = (float(value) for value in np.quantile(ratios, (0.05, 0.5, 0.95)))
    return Difference(
        a.origin.device,
        b.origin.device,
        a.origin.differences(b.origin),
        tuple(key for key in a.by_key if key not in b.by_key),
        tuple(key for key in b.by_key if key not in a.by_key),
        middle,
        low,
        high,
        sum(known) / len(known) if known else None,
        tuple(sorted(pairs, key=lambda pair: -abs(np.log(pair.ratio / middle)))),
    )


def _pair(a: Row, b: Row) -> RowPair:
    apart = None
    if a.interval_ms is not None and b.interval_ms is not None:
        apart = a.interval_ms[1] < b.interval_ms[0] or b.interval_ms[1] < a.interval_ms[0]
    kind = "foreign" if a.block is None else a.block.type
    return RowPair(a.key, kind, a.warm_ms, b.warm_ms, b.warm_ms / a.warm_ms, apart)
