from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from harness.measure.alternation import Visit, judge, pair_ratios
from harness.measure.plan import MOST_FLAWED
from harness.measure.rows import Pairing
from harness.measure.samples import TimedRepetition
from harness.measure.store import Store
from latency_agent.protocol import Repetition
from tests.measure.test_stats_given import around, chunk, repetition
from tests.measure.test_store_given import MODELS, SUBJECT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIRING = Pairing(1, 2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def alternated(ratio: float, seed: int, *, lost_ns: int = 0) -> Repetition:
    """Return a process that took A (100 us) and B in turn in four exchanges, and lost time to others in every sample of B."""
    references = [chunk(around(200_000, seed + model), model=model, discarded_ns=(500_000,)) for model in (0, 1)]
    chunks = []
    for exchange in range(4):
        a = chunk(around(100_000, seed + 10 + exchange, samples=30), model=2)
        b = chunk(around(100_000 * ratio, seed + 20 + exchange, samples=30) + lost_ns, lost_ns=lost_ns, model=3)
        chunks += [a, b] if exchange % 2 == 0 else [b, a]
    return repetition(*references, *chunks)


def swapped(data: Repetition) -> Repetition:
    """Return a process that loaded B first, as every second one does."""
    return replace(data, chunks=tuple(replace(chunk, model={2: 3, 3: 2}.get(chunk.model, chunk.model)) for chunk in data.chunks))


def visit(store: Store, *processes: Repetition) -> Visit:
    models = (*MODELS, "ef" * 32)
    arranged = [data if index % 2 == 0 else swapped(data) for index, data in enumerate(processes)]
    taken = [TimedRepetition("session", NOW + timedelta(seconds=index), models, data) for index, data in enumerate(arranged)]
    return judge(store, PAIRING, (SUBJECT, replace(SUBJECT, model_sha256="ef" * 32)), [(one, one) for one in taken])


def test_the_ratio_of_a_visit_is_that_of_its_pairs(store: Store) -> None:
    found = visit(store, *(alternated(1.1, seed) for seed in range(0, 500, 100)))
    assert found.ratio().ratio == pytest.approx(1.1, rel=0.002)
    assert found.ratio().pairs == 5 * 4 * 30
    assert [process.b_ns for process in found.used] == pytest.approx([110_000] * 5, rel=0.002)
    assert [process.ratios[0] for process in found.used] == pytest.approx([1.1] * 5, rel=0.02)
    assert found.flaw is None


def test_what_slows_both_of_a_pair_leaves_their_ratio_as_it_is() -> None:
    slowness = np.repeat([1.0, 1.8, 1.0, 1.6, 1.2], 6)
    a, b = (around(latency_ns, seed, samples=30) * slowness for latency_ns, seed in ((100_000, 1), (110_000, 2)))
    data = repetition(*alternated(1.0, 1).chunks[:2], chunk(a, model=2), chunk(b, model=3))
    assert pair_ratios(data, 1, swapped=False) == pytest.approx([1.1] * 30, rel=0.02)


def test_a_pair_of_which_one_was_disturbed_does_not_count() -> None:
    lost = np.arange(30) % 10 * 20_000
    data = repetition(chunk([100_000] * 30, model=2), chunk(100_000 + lost, lost_ns=lost, model=3))
    assert pair_ratios(data, 1, swapped=False) == (1.0,) * 3


def test_a_disturbed_process_does_not_count_and_is_measured_again(store: Store) -> None:
    quiet = [alternated(1.0, seed) for seed in range(0, 400, 100)]
    found = visit(store, *quiet, alternated(1.0, 900, lost_ns=50_000))
    assert [process.flaws for process in found.judged] == [(), (), (), (), ("disturbed",)]
    assert len(found.used) == 4
    assert found.ratio().ratio == pytest.approx(1, abs=0.002)
    assert not found.complete(5)
    assert visit(store, *quiet, alternated(1.0, 900)).complete(5)


def test_when_too_many_are_disturbed_the_visit_stands_and_says_so(store: Store) -> None:
    disturbed = [alternated(1.0, seed, lost_ns=50_000) for seed in range(0, 100 * (5 + MOST_FLAWED), 100)]
    assert not visit(store, *disturbed[:-1]).complete(5)
    found = visit(store, *disturbed)
    assert found.complete(5)
    assert found.flaw == "disturbed"
    assert found.used == found.judged


def test_enough_sound_ones_are_not_enough_while_most_are_disturbed(store: Store) -> None:
    quiet = [alternated(1.0, seed) for seed in range(0, 400, 100)]
    disturbed = [alternated(1.0, seed, lost_ns=50_000) for seed in range(1000, 1400, 100)]
    assert not visit(store, *quiet[:3], *disturbed).complete(4)
    found = visit(store, *quiet, *disturbed)
    assert found.complete(4)
    assert found.flaw is None


def test_processes_on_two_devices_are_paired_as_they_were_taken(store: Store) -> None:
    def on(latency_ns: float, seed: int) -> TimedRepetition:
        references = [chunk(around(200_000, seed + model), model=model, discarded_ns=(500_000,)) for model in (0, 1)]
        data = repetition(*references, chunk(around(latency_ns, seed + 5), model=2))
        return TimedRepetition("session", NOW + timedelta(seconds=seed), MODELS, data)

    taken = [(on(latency_ns, seed), on(latency_ns * (2 + seed), seed + 5)) for seed, latency_ns in ((0, 1e5), (1, 3e5), (2, 2e5))]
    found = judge(store, PAIRING, (SUBJECT, replace(SUBJECT, runtime="tflite-runtime")), taken)
    assert [process.ratios[0] for process in found.judged] == pytest.approx([2, 3, 4], rel=0.002)
