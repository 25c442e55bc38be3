from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.stats import disturbed
from latency_agent import timing
from latency_agent.cores import pin
from latency_agent.protocol import Chunk
from latency_agent.timing import SETTLE_NS, SETTLE_RUNS, SHORTEST_SAMPLE_NS, Samples, repeats_for, run_for, time_chunk, time_in_turn


class Busy:
    """Work of at least `least_ns`, counted."""

    def __init__(self, least_ns: int = 0) -> None:
        self.least_ns = least_ns
        self.runs = 0

    def __call__(self) -> None:
        self.runs += 1
        until = time.thread_time_ns() + self.least_ns
        while time.thread_time_ns() < until:
            pass


def test_run_for_makes_the_least_number_of_runs() -> None:
    work = Busy()
    assert len(run_for(work, 7, 0)) == work.runs == 7


def test_run_for_goes_on_until_the_time_has_passed() -> None:
    work = Busy(1_000_000)
    started = time.perf_counter_ns()
    runs = run_for(work, 1, 200_000_000)
    assert time.perf_counter_ns() - started >= 200_000_000
    assert len(runs) == work.runs > 1
    assert min(runs) >= 1_000_000


def test_what_comes_before_a_run_is_not_timed() -> None:
    before, work = Busy(3_000_000), Busy()
    runs = run_for(work, 5, 0, before)
    assert before.runs == work.runs == 5
    assert sorted(runs)[2] < 3_000_000


@given(st.lists(st.integers(0, 10**9), min_size=1).map(tuple))
def test_repeats_are_the_least_power_of_two_that_fills_a_sample(runs_ns: tuple[int, ...]) -> None:
    repeats = repeats_for(runs_ns)
    typical = max(1, sorted(runs_ns)[len(runs_ns) // 2])
    assert repeats.bit_count() == 1
    assert repeats * typical >= SHORTEST_SAMPLE_NS
    assert repeats == 1 or repeats // 2 * typical < SHORTEST_SAMPLE_NS


def test_a_chunk_discards_runs_until_3_runs_and_10_ms_have_passed() -> None:
    slow = time_chunk(Busy(6_000_000), repeats=1, least_runs=1, least_ns=0, threads=1)
    assert len(slow.discarded_ns) == SETTLE_RUNS
    quick = time_chunk(Busy(200_000), repeats=1, least_runs=1, least_ns=0, threads=1)
    assert len(quick.discarded_ns) > SETTLE_RUNS
    assert sum(quick.discarded_ns) > 0.8 * SETTLE_NS


@pytest.mark.parametrize(("repeats", "least_runs", "samples"), [(1, 5, 5), (4, 5, 2), (8, 8, 1), (16, 1, 1)])
def test_a_chunk_holds_its_least_runs_and_counts_every_one(repeats: int, least_runs: int, samples: int) -> None:
    work = Busy(100_000)
    found = time_chunk(work, repeats=repeats, least_runs=least_runs, least_ns=0, threads=1)
    assert found.repeats == repeats
    assert len(found.wall_ns) == len(found.cpu_ns) == len(found.switches) == samples
    assert work.runs == len(found.discarded_ns) + repeats * samples


def test_a_chunk_lasts_its_least_time() -> None:
    started = time.perf_counter_ns()
    found = time_chunk(Busy(1_000_000), repeats=1, least_runs=1, least_ns=30_000_000, threads=1)
    assert time.perf_counter_ns() - started >= SETTLE_NS + 30_000_000
    assert len(found.wall_ns) > 1


def test_a_sample_is_the_time_of_all_its_runs() -> None:
    found = time_chunk(Busy(500_000), repeats=4, least_runs=20, least_ns=0, threads=1)
    assert min(found.wall_ns) >= 4 * 500_000
    assert min(found.cpu_ns) >= 4 * 500_000


def test_models_in_turn_have_as_many_samples_each() -> None:
    order: list[str] = []

    def named(name: str) -> Callable[[], None]:
        work = Busy(4_000_000)

        def run() -> None:
            order.append(name)
            work()

        return run

    a, b = time_in_turn([named("a"), named("b")], repeats=[2, 3], least_samples=4, least_ns=0, threads=1)
    # Three runs of each turn are discarded: they last longer than the caches need.
    assert "".join(order) == ("aaaaa" + "bbbbbb") * 4
    assert (a.repeats, b.repeats) == (2, 3)
    assert [len(one.wall_ns) for one in (a, b)] == [4, 4]
    assert [len(one.discarded_ns) for one in (a, b)] == [4, 4]
    assert min(a.wall_ns) >= 8_000_000
    assert min(b.wall_ns) >= 12_000_000


def test_models_in_turn_are_taken_until_the_time_has_passed() -> None:
    started = time.perf_counter_ns()
    a, b = time_in_turn([Busy(200_000), Busy(300_000)], repeats=[8, 4], least_samples=1, least_ns=80_000_000, threads=1)
    assert time.perf_counter_ns() - started >= 80_000_000
    assert len(a.wall_ns) == len(b.wall_ns) > 2
    assert len(a.discarded_ns) == len(a.wall_ns)


def test_flushing_comes_before_every_run_and_is_not_timed() -> None:
    flush, work = Busy(2_000_000), Busy()
    found = time_chunk(work, repeats=1, least_runs=9, least_ns=0, threads=1, flush=flush)
    assert flush.runs == work.runs == len(found.discarded_ns) + 9
    assert sorted(found.wall_ns)[4] < 2_000_000


def test_with_several_threads_the_cpu_time_is_that_of_the_process() -> None:
    with ThreadPoolExecutor(1) as pool:

        def work() -> None:
            pool.submit(Busy(2_000_000)).result()

        of_thread = time_chunk(work, repeats=1, least_runs=5, least_ns=0, threads=1)
        of_process = time_chunk(work, repeats=1, least_runs=5, least_ns=0, threads=2)
    assert max(of_thread.cpu_ns) < 2_000_000 <= min(of_process.cpu_ns)


@pytest.fixture
def collecting() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("before", [True, False])
def test_garbage_collection_is_off_while_timing_and_afterwards_as_it_was(before: bool) -> None:
    during = set()
    (gc.enable if before else gc.disable)()
    time_chunk(lambda: during.add(gc.isenabled()), repeats=1, least_runs=3, least_ns=0, threads=1)
    assert during == {False}
    assert gc.isenabled() is before


@pytest.mark.usefixtures("collecting")
def test_garbage_collection_is_back_after_a_failure() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        time_chunk(fail, repeats=1, least_runs=3, least_ns=0, threads=1)
    assert gc.isenabled()


def test_the_clock_has_a_step() -> None:
    assert 0 < timing.clock_step_ns() < 1_000_000


def share(samples: Samples) -> float:
    chunk = Chunk(0, 0, samples.repeats, samples.discarded_ns, samples.wall_ns, samples.cpu_ns, samples.switches, None, None, None)
    return float(disturbed(chunk, threads=1).mean())


def pinned(core: int, work: Callable[[], Samples]) -> Samples:
    def there() -> Samples:
        pin([core])
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(there).result()


def test_a_busy_process_on_the_same_core_disturbs_the_samples() -> None:
    core = max(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            # Each sample is longer than the scheduler lets one process run while another waits.
            found = pinned(core, lambda: time_chunk(Busy(10_000_000), repeats=1, least_runs=20, least_ns=0, threads=1))
        finally:
            other.kill()
    assert share(found) > 0.2


def test_most_short_samples_are_undisturbed() -> None:
    # Even beside another process on the core: it comes between a few of them only.
    core = max(os.sched_getaffinity(0))
    found = pinned(core, lambda: time_chunk(Busy(200_000), repeats=1, least_runs=200, least_ns=0, threads=1))
    assert share(found) < 0.5
