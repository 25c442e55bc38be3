"""Where the time for a table is spent best: on the models whose uncertainty makes predictions most unsure."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from harness.networks.network import Network
from harness.tables.listing import COPIES
from harness.tables.passes import Passes, Task
from harness.tables.rows import Blocks
from harness.tables.seen import seen_of
from harness.tables.table import keys_of

PENALTY = 0.3
"""About how much of what cold runs take longer a network takes longer, as fitted on several machines (the form cold_penalty's beta)."""

USUAL_SPREAD = 0.027
"""The relative standard deviation from process to process where none can be told yet: that of networks on a shared machine."""

_PRIOR_DEGREES = 4
"""The usual spread of a kind counts as much in a model's own as so many processes."""


class Needs:
    """By how much one more process of a model would lower the relative variance of predictions, on average over networks."""

    def __init__(self, measured: Sequence[Blocks], networks: Sequence[Network], threads: int) -> None:
        """Take models of blocks, of which each task was tried once at least, and networks such as are to be predicted."""
        self._threads = threads
        self._seen: dict[int, tuple[int, float, float]] = {}
        self._weights: dict[int, float] = {}
        shares = self._shares(measured, networks)
        least = min(shares.values(), default=1.0)
        for one in measured:
            # A block that no network has, such as one at another width, counts as the least of those that networks have.
            share = shares.get(one.warm.benchmark, least)
            self._weights[one.warm.benchmark] = share * (1 - PENALTY) ** 2
            self._weights[one.cold.benchmark] = share * PENALTY**2
            if one.chain is not None:
                self._weights[one.chain.benchmark] = share / (COPIES - 1) ** 2

    def of(self, tasks: Sequence[Task]) -> list[float]:
        """Return it of tasks of one kind, of which each has a repetition."""
        seen = [self._of(task) for task in tasks]
        known = [spread / latency_ms for count, latency_ms, spread in seen if count > 1]
        usual = median(known) if known else USUAL_SPREAD
        return [
            self._weights[task.benchmark]
            * ((count - 1) * spread**2 + _PRIOR_DEGREES * (usual * latency_ms) ** 2)
            / (count - 1 + _PRIOR_DEGREES)
            * (1 / count - 1 / (count + 1))
            for task, (count, latency_ms, spread) in zip(tasks, seen, strict=True)
        ]

    def _shares(self, measured: Sequence[Blocks], networks: Sequence[Network]) -> dict[int, float]:
        """Return, by the number of the warm task, the mean square of what 1 ms of a model's makes of the latency of networks."""
        tasks = {key: one.warm for one in measured for key in one.timed.keys if one.warm.repetitions}
        shares: dict[int, float] = defaultdict(float)
        for network in networks:
            counts = Counter(tasks[key].benchmark for key in keys_of(network) if key in tasks)
            total_ms = sum(self._of(tasks[key])[1] for key in keys_of(network) if key in tasks)
            for benchmark, count in counts.items():
                shares[benchmark] += (count / total_ms) ** 2 / len(networks)
        return shares

    def _of(self, task: Task) -> tuple[int, float, float]:
        """Return how many repetitions a task has, their latency, and the standard deviation from one to the next, 0 of a single one."""
        count = len(task.repetitions)
        if self._seen.get(task.benchmark, (0,))[0] != count:
            seen = seen_of(task, self._threads)
            self._seen[task.benchmark] = count, seen.latency / 1e6, (seen.spread or 0.0) / 1e6
        return self._seen[task.benchmark]


def spend(
    passes: Passes, needs: Needs, measured: Sequence[Blocks], whole: Sequence[Task], whole_passes: int, *, began: float, time_s: float
) -> None:
    """Take processes of those models that need them most, batch by batch, until `time_s` after `began` (of `time.monotonic`).

    Of whole networks, by which predictions are calibrated and judged, `whole_passes` passes are spread over that time.
    """
    chains = [one.chain for one in measured if one.chain is not None]
    kinds = ([one.warm for one in measured], [one.cold for one in measured], chains)

    def told(_: int) -> None:
        passes.tell(round(min(time.monotonic() - began, time_s)), round(time_s))

    while (spent_s := time.monotonic() - began) < time_s:
        if late := [task for task in whole if not task.failed and len(task.repetitions) < whole_passes * spent_s / time_s]:
            passes.take(late[: late[0].pace.models], told)
            continue
        able = [[task for task in kind if task.repetitions and not task.failed] for kind in kinds]
        batches = [_neediest(passes, tasks, needs) for tasks in able if tasks]
        if not batches:
            return
        passes.take(max(batches, key=lambda batch: batch[0])[1], told)


def _neediest(passes: Passes, tasks: Sequence[Task], needs: Needs) -> tuple[float, list[Task]]:
    """Return a batch of those tasks of a kind that need a process most, and what each second of it would give."""
    ranked = sorted(zip(needs.of(tasks), tasks, strict=True), key=lambda pair: -pair[0])[: tasks[0].pace.models]
    cost_s = passes.cost_s(tasks[0])  # unknown where a build was cut short: tried at once
    return sum(need for need, _ in ranked) / cost_s / len(ranked) if cost_s else math.inf, [task for _, task in ranked]
