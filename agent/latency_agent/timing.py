"""The loop that times inference. Nothing here allocates, logs or reads files between two runs of a sample."""

from __future__ import annotations

import gc
import itertools
import resource
import time
from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

SHORTEST_SAMPLE_NS = 100_000
SETTLE_RUNS = 3
SETTLE_NS = 10_000_000


@dataclass(frozen=True)
class Samples:
    """Columns of samples, in nanoseconds and involuntary context switches; each sample is `repeats` runs."""

    repeats: int
    discarded_ns: Tuple[int, ...]
    wall_ns: Tuple[int, ...]
    cpu_ns: Tuple[int, ...]
    switches: Tuple[int, ...]


def run_for(invoke: Callable[[], object], least_runs: int, least_ns: int, before: Optional[Callable[[], object]] = None) -> Tuple[int, ...]:
    """Return the wall time of each run, of at least `least_runs` and until `least_ns` have passed. `before` is called before each."""
    clock = time.perf_counter_ns
    runs: List[int] = []
    until = clock() + least_ns
    while len(runs) < least_runs or clock() < until:
        if before is not None:
            before()
        start = clock()
        invoke()
        runs.append(clock() - start)
    return tuple(runs)


def repeats_for(runs_ns: Tuple[int, ...]) -> int:
    """Return how many runs make a sample of at least 100 us: a power of two, so that processes agree on it."""
    typical = sorted(runs_ns)[len(runs_ns) // 2]
    repeats = 1
    while repeats * max(typical, 1) < SHORTEST_SAMPLE_NS:
        repeats *= 2
    return repeats


def time_chunk(
    invoke: Callable[[], object],
    *,
    repeats: int,
    least_runs: int,
    least_ns: int,
    threads: int,
    flush: Optional[Callable[[], object]] = None,
) -> Samples:
    """Return samples of at least `least_runs` runs, taken until `least_ns` have passed.

    Runs are discarded first until 3 runs and 10 ms have passed: the caches still hold the previous model. `flush` is called before
    each sample, outside the timed region. With one thread the CPU time is the thread's, else the process's.
    """
    wall_clock = time.perf_counter_ns
    cpu_clock = time.thread_time_ns if threads == 1 else time.process_time_ns
    usage_of = resource.RUSAGE_THREAD if threads == 1 else resource.RUSAGE_SELF
    usage = resource.getrusage
    wall: List[int] = []
    cpu: List[int] = []
    switches: List[int] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        discarded = run_for(invoke, SETTLE_RUNS, SETTLE_NS, flush)
        least_samples = -(-least_runs // repeats)
        until = wall_clock() + least_ns
        while len(wall) < least_samples or wall_clock() < until:
            if flush is not None:
                flush()
            switches_before = usage(usage_of).ru_nivcsw
            # The CPU clock encloses the wall clock, so that in an undisturbed sample CPU time is never the smaller.
            cpu_start = cpu_clock()
            if repeats == 1:
                start = wall_clock()
                invoke()
                end = wall_clock()
            else:
                rounds = itertools.repeat(None, repeats)
                start = wall_clock()
                for _ in rounds:
                    invoke()
                end = wall_clock()
            cpu_end = cpu_clock()
            wall.append(end - start)
            cpu.append(cpu_end - cpu_start)
            switches.append(usage(usage_of).ru_nivcsw - switches_before)
    finally:
        if collecting:
            gc.enable()
    return Samples(repeats, discarded, tuple(wall), tuple(cpu), tuple(switches))


def clock_step_ns() -> int:
    """Return the smallest step between two readings of the clock that samples are timed with."""
    readings = [time.perf_counter_ns() for _ in range(1000)]
    steps = [after - before for before, after in zip(readings, readings[1:]) if after > before]
    return min(steps)
