"""What a model's processes come to on a machine that others slow for moments: runs are drawn from two speeds."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from harness.measure.batch import BLOCKS
from harness.measure.plan import batch_schedule
from harness.measure.samples import REFERENCES, TimedRepetition
from harness.tables import seen
from harness.tables.passes import Task
from harness.tables.seen import noise_of, reference_ns, seen_of
from tests.measure.test_stats_given import chunk, repetition
from tests.tables.given import BEGAN

LATENCY_NS = 2_000_000


def task(processes: int, *, calm: float = 0.5, seed: int = 0) -> Task:
    """Return a model that others slow by half in some of its chunks, two to a process, a share of which is `calm`."""
    generator = np.random.default_rng(seed)

    def runs() -> list[int]:
        slow = 1.0 if generator.random() < calm else 1.5
        return [int(LATENCY_NS * slow * generator.normal(1, 0.01)) for _ in range(10)]

    taken = [
        TimedRepetition("session", BEGAN, (), repetition(chunk([1_000] * 5, model=0), *(chunk(runs(), model=REFERENCES) for _ in range(2))))
        for _ in range(processes)
    ]
    return Task(cast(Any, None), False, BLOCKS, cast(Any, None), 1, taken)


@pytest.mark.parametrize("calm", [0.35, 0.5, 1.0])
def test_others_do_not_move_what_the_quickest_runs_say(calm: float) -> None:
    found = [seen_of(task(7, calm=calm, seed=seed), 1).latency / LATENCY_NS for seed in range(40)]
    assert max(found) < 1.02
    assert min(found) > 0.97


def test_runs_of_a_moment_count_together() -> None:
    runs = np.array([1.0, 3.0, 2.0, 4.0, 9.0]) * 1e6
    (found,) = seen.moments([[runs * 2]])
    assert found.tolist() == [np.mean(runs[:2]) * 2, np.mean(runs[2:4]) * 2]  # two of the quickest, which take 2.4 ms
    (found,) = seen.moments([[runs * 10]])
    assert found.tolist() == (runs * 10).tolist()
    assert [each.tolist() for each in seen.moments([[runs / 1000, runs / 500], [runs]])] == [
        [np.mean(runs) / 1000, np.mean(runs) / 500],
        [np.mean(runs)],
    ]


def test_short_runs_are_not_read_as_quicker_than_long_ones() -> None:
    """A quiet moment lasts half a millisecond: a run of 20 ms is never quiet throughout, some of 0.1 ms are."""

    def seen_in(run_ns: int) -> float:
        generator = np.random.default_rng(run_ns)
        taken = []
        for _ in range(7):
            speed = np.repeat(generator.choice([1.0, 1.5], 40), 5)  # of each 0.1 ms of 20
            runs = [int(part.mean() * run_ns) for part in np.split(speed, len(speed) * 100_000 // run_ns)]
            chunks = (chunk([1_000] * 5, model=0), chunk(runs, model=REFERENCES))
            taken.append(TimedRepetition("session", BEGAN, (), repetition(*chunks)))
        return seen_of(Task(cast(Any, None), False, BLOCKS, cast(Any, None), 1, taken), 1).latency / run_ns

    assert seen_in(100_000) == pytest.approx(seen_in(5_000_000), rel=0.05)


def test_an_interval_needs_three_processes() -> None:
    assert seen_of(task(1), 1).spread is None
    assert seen_of(task(2), 1).interval is None
    found = seen_of(task(7), 1)
    assert found.interval is not None
    assert found.interval[0] < found.latency < found.interval[1]
    assert found.samples == 140


def test_the_spread_of_a_mean_would_be_the_standard_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "quickest", lambda processes: float(np.mean([each.mean() for each in processes])))
    monkeypatch.setattr(seen, "WINDOW_NS", LATENCY_NS)
    found = task(7)
    means = [np.mean([chunk.wall_ns for chunk in one.data.chunks if chunk.model == REFERENCES]) for one in found.repetitions]
    assert seen_of(found, 1).spread == pytest.approx(np.std(means, ddof=1))


def test_the_noise_of_measurements_is_how_far_they_lie_apart() -> None:
    tasks = [task(7, calm=1.0, seed=seed) for seed in range(40)]
    apart = np.std([seen_of(one, 1).latency for one in tasks]) / LATENCY_NS
    assert noise_of(tasks, 1) == pytest.approx(apart, rel=0.6)


def test_the_reference_beside_many_models_counts_once() -> None:
    assert reference_ns([task(3), task(2, seed=1)]) == 1_000


def test_rounds_lie_apart() -> None:
    assert [models[0] for models in batch_schedule([[2, 3], [4]], rounds=2)][3:-4] == [0, 2, 3, 0, 4] * 2
