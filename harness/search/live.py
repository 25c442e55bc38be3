"""Latency of candidates measured on a device, in the place of a table's predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.convert.direct import DirectPrecision
from harness.devices.inventory import load_inventory
from harness.files import StrPath
from harness.measure.batch import NETWORKS
from harness.measure.result import Progress
from harness.measure.store import Store
from harness.networks.space import Space, Tokens
from harness.search.resources import Amounts
from harness.tables.build import NETWORK_PASSES
from harness.tables.listing import network_model
from harness.tables.passes import Passes, passes_on
from harness.tables.seen import Seen, check_here, seen_of
from harness.tables.table import Origin


class LiveLatency:
    """Latency in ms as a table's networks are measured: what a model takes in its quickest moments. Each candidate is measured once.

    The device is held while candidates are measured, and free while a search does something else. What a search that was killed had
    measured, and not yet told, is not measured again by the next one, for a day: that all has been told it learns at the end of a `with`.
    """

    def __init__(
        self,
        space: Space,
        *,
        device: str | None = None,
        precision: DirectPrecision = "float32",
        threads: int = 1,
        inventory: StrPath | None = None,
        results: StrPath | None = None,
        progress: Callable[[Progress], None] | None = None,
        name: str = "latency_ms",
        like: Origin | None = None,
    ) -> None:
        """Take where to measure; what it is to be `like` is where a table came from, whose device it must be, set as it was then."""
        found = load_inventory(inventory)
        self.name = name
        self._space = space
        self._device = found.device(device).name
        self._precision = precision
        self._threads = threads
        self._inventory = inventory
        self._results = results or found.results_dir
        self._progress = progress
        self._like = like
        self._known: dict[Tokens, Seen | None] = {}
        self._untold: list[int] = []

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return measurements with their intervals; a candidate that the device cannot run has none: not a number.

        Raises ConfigError where the device is not what it is to be like, and what a session raises.
        """
        asked = [tuple(line) for line in tokens.tolist()]
        if new := [one for one in dict.fromkeys(asked) if one not in self._known]:
            self._measure(new)
        seen = [self._known[one] for one in asked]
        values = [math.nan if one is None else one.latency for one in seen]
        ends = [(value, value) if one is None or one.interval is None else one.interval for one, value in zip(seen, values, strict=True)]
        return Amounts(np.array(values) / 1e6, np.array(ends).reshape(-1, 2) / 1e6)

    def _measure(self, new: list[Tokens]) -> None:
        models = [network_model(self._space.network(one), self._precision) for one in new]
        self.finish()  # whoever asks for more has kept what was told before
        with self._passes() as passes:
            passes.acquire()
            tasks = [passes.task(model, NETWORKS) for model in models]
            passes.run(((tasks, NETWORK_PASSES),))
        self._untold = [task.benchmark for task in tasks if not task.failed]
        for one, task in zip(new, tasks, strict=True):
            self._known[one] = seen_of(task, self._threads) if task.repetitions else None

    @contextmanager
    def _passes(self) -> Iterator[Passes]:
        with passes_on(self._device, self._threads, self._inventory, self._results, self._progress) as passes:
            if self._like is not None:
                check_here(self._like, passes.rig)
            yield passes

    def finish(self) -> None:
        """Store that all that was measured has been told."""
        if self._untold:
            with Store.open(self._results) as store:
                store.finish(*self._untold)
            self._untold = []

    def __enter__(self) -> Self:
        if self._like is not None:
            with self._passes():
                pass  # a device that does not fit is told before anything is trained
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.finish()
