"""Where the time for a table goes. What tasks showed is made up: the seam is `Needs._of`, which reads their repetitions."""

from __future__ import annotations

from itertools import count
from typing import Any, cast

import pytest

from harness.measure.batch import BLOCKS, COLD_BLOCKS
from harness.networks.blocks import Conv
from harness.networks.network import Network
from harness.tables import need
from harness.tables.listing import Timed
from harness.tables.need import PENALTY, Needs, spend
from harness.tables.passes import Passes, Task
from harness.tables.rows import Blocks

OFTEN, SELDOM = Conv(8, (3, 3), activation="relu"), Conv(8, (1, 1), activation="relu")
NETWORK = Network("both", (8, 8, 8), (OFTEN, OFTEN, OFTEN, SELDOM))


class Told(Needs):
    def _of(self, task: Task) -> tuple[int, float, float]:
        return len(task.repetitions), 1.0, 0.05


class Counting:
    """Passes over tasks that are not measured: a batch takes a second."""

    def __init__(self) -> None:
        self.clock_s = 0.0
        self.taken: list[list[Task]] = []

    def take(self, tasks: list[Task], done: Any) -> None:
        self.clock_s += 1
        self.taken.append(tasks)
        for task in tasks:
            task.repetitions.append(cast(Any, None))
        done(len(tasks))

    def tell(self, done: int, total: int) -> None:
        assert done <= total

    def cost_s(self, task: Task) -> float:
        return 1 / task.pace.models


@pytest.fixture
def measured() -> list[Blocks]:
    number = count()
    shape = (8, 8, 8)
    return [
        Blocks(Timed(cast(Any, None), ((block, (shape,)),)), task(next(number)), task(next(number), cold=True), None)
        for block in (OFTEN, SELDOM)
    ]


def task(number: int, *, cold: bool = False) -> Task:
    return Task(cast(Any, None), cold, COLD_BLOCKS if cold else BLOCKS, cast(Any, None), number, [cast(Any, None)])


def test_what_stands_in_more_places_needs_more(measured: list[Blocks]) -> None:
    needs = Told(measured, [NETWORK], 1)
    often, seldom = needs.of([one.warm for one in measured])
    assert often == pytest.approx(9 * seldom)
    assert seldom == pytest.approx((1 - PENALTY) ** 2 / 16 * need.USUAL_SPREAD**2 / 2)
    assert needs.of([measured[0].cold])[0] == pytest.approx(often * (PENALTY / (1 - PENALTY)) ** 2)
    measured[0].warm.repetitions.extend([cast(Any, None)] * 3)
    assert needs.of([measured[0].warm])[0] < often


def test_the_time_goes_to_the_neediest_and_networks_are_spread_over_it(measured: list[Blocks], monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Counting()
    monkeypatch.setattr("harness.tables.need.time.monotonic", lambda: passes.clock_s)
    monkeypatch.setattr(need, "_neediest", single)
    whole = [task(10)]
    spend(cast(Passes, passes), Told(measured, [NETWORK], 1), measured, whole, 4, began=0.0, time_s=40.0)
    when = [index for index, tasks in enumerate(passes.taken) if tasks == whole]
    assert len(passes.taken) == 40
    assert len(when) == 3
    assert when[1] - when[0] == pytest.approx(10, abs=1)
    counts = [len(one.warm.repetitions) for one in measured]
    assert counts[0] > 2 * counts[1] > len(measured[1].cold.repetitions)


def single(_: Passes, tasks: list[Task], needs: Needs) -> tuple[float, list[Task]]:
    """Return a batch of one: two blocks would fit into a single one."""
    ranked = sorted(zip(needs.of(tasks), tasks, strict=True), key=lambda pair: -pair[0])
    return ranked[0][0], [ranked[0][1]]
