"""Latency of candidates measured on a device, in the place of a table's predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from harness.convert.direct import DirectPrecision
from harness.files import StrPath
from harness.measure.batch import NETWORKS
from harness.measure.result import Progress
from harness.networks.space import Space, Tokens
from harness.search.resources import Amounts
from harness.tables.build import NETWORK_PASSES
from harness.tables.listing import network_model
from harness.tables.passes import Passes, passes_on
from harness.tables.seen import Seen, seen_of


class LiveLatency:
    """Latency in ms as a table's networks are measured: what a model's quickest runs take, over several processes. Each candidate once."""

    def __init__(self, passes: Passes, space: Space, precision: DirectPrecision = "float32", name: str = "latency_ms") -> None:
        """Take passes of a device, whose lease is held."""
        self.name = name
        self._passes = passes
        self._space = space
        self._precision = precision
        self._known: dict[Tokens, Seen | None] = {}

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return measurements with their intervals; a candidate that the device cannot run has none: not a number."""
        asked = [tuple(line) for line in tokens.tolist()]
        new = [one for one in dict.fromkeys(asked) if one not in self._known]
        tasks = [self._passes.task(network_model(self._space.network(one), self._precision), NETWORKS) for one in new]
        self._passes.run(((tasks, NETWORK_PASSES),))
        self._passes.finish(tasks)
        for one, task in zip(new, tasks, strict=True):
            self._known[one] = seen_of(task, self._passes.rig.threads) if task.repetitions else None
        seen = [self._known[one] for one in asked]
        values = [math.nan if one is None else one.latency for one in seen]
        ends = [(value, value) if one is None or one.interval is None else one.interval for one, value in zip(seen, values, strict=True)]
        return Amounts(np.array(values) / 1e6, np.array(ends).reshape(-1, 2) / 1e6)


@contextmanager
def live_latency(
    space: Space,
    *,
    device: str | None = None,
    precision: DirectPrecision = "float32",
    threads: int = 1,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
    name: str = "latency_ms",
) -> Iterator[LiveLatency]:
    """Give the latency of a space's candidates on a device, which is held for the time of the `with`; raises what a session raises."""
    with passes_on(device, threads, inventory, results, progress) as passes:
        passes.acquire()
        yield LiveLatency(passes, space, precision, name)
