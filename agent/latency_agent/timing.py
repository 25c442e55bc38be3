"""The loop that times inference. Nothing here allocates, logs or reads files between two runs of a sample."""

from __future__ import annotations

import contextlib
import gc
import itertools
import resource
import time
from dataclasses import dataclass
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

SHORTEST_SAMPLE_NS = 100_000
SETTLE_RUNS = 3
SETTLE_NS = 10_000_000
SHORTEST_TURN_NS = 5_000_000
TURN_RUNS = 2


@dataclass(frozen=True)
class Samples:
    """Columns of samples, in nanoseconds and involuntary context switches; each sample is `repeats` runs.

    Of what was discarded before a sample in turn only the first run is kept: there may be thousands.
    """

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


def repeats_for(runs_ns: Tuple[int, ...], shortest_ns: int = SHORTEST_SAMPLE_NS) -> int:
    """Return how many runs make a sample of at least `shortest_ns`: a power of two, so that processes agree on it."""
    typical = sorted(runs_ns)[len(runs_ns) // 2]
    repeats = 1
    while repeats * max(typical, 1) < shortest_ns:
        repeats *= 2
    return repeats


def time_chunk(
    invoke: Callable[[], object],
    *,
    repeats: int,
    least_runs: int,
    least_ns: int,
    threads: int,
    settle_ns: int = SETTLE_NS,
    flush: Optional[Callable[[], object]] = None,
) -> Samples:
    """Return samples of at least `least_runs` runs, taken until `least_ns` have passed.

    Runs are discarded first until 3 runs and `settle_ns` have passed, as the caches still hold the previous model; none where it is 0.
    `flush` is called before each sample, outside the timed region. With one thread the CPU time is the thread's, else the process's.
    """
    recorder = _Recorder(invoke, repeats, threads, flush)
    with _no_collection():
        if settle_ns:
            recorder.discard(settle_ns)
        least_samples = -(-least_runs // repeats)
        until = time.perf_counter_ns() + least_ns
        while len(recorder.wall) < least_samples or time.perf_counter_ns() < until:
            recorder.take()
    return recorder.samples()


def time_in_turn(
    invokes: Sequence[Callable[[], object]],
    *,
    repeats: Sequence[int],
    least_samples: int,
    least_ns: int,
    threads: int,
    flush: Optional[Callable[[], object]] = None,
) -> Tuple[Samples, ...]:
    """Return samples of several models taken in turn, as many of each: at least `least_samples`, and until `least_ns` have passed.

    Before each sample runs are discarded as before a chunk: the second run after a change took a model of 1 ms 18% more, the fifth 3%.
    The order never changes: of two turns in a row the second would find its caches warmer. What slows a core for longer than a turn
    slows neighbours alike.
    """
    recorders = [_Recorder(invoke, count, threads, flush) for invoke, count in zip(invokes, repeats)]
    until = time.perf_counter_ns() + least_ns
    with _no_collection():
        while len(recorders[0].wall) < least_samples or time.perf_counter_ns() < until:
            for recorder in recorders:
                recorder.discard(SETTLE_NS, kept=1)
                recorder.take()
    return tuple(recorder.samples() for recorder in recorders)


class _Recorder:
    """Takes samples of one model and keeps them in columns."""

    def __init__(self, invoke: Callable[[], object], repeats: int, threads: int, flush: Optional[Callable[[], object]]) -> None:
        self._invoke = invoke
        self._repeats = repeats
        self._flush = flush
        self._cpu_clock = time.thread_time_ns if threads == 1 else time.process_time_ns
        self._usage_of = resource.RUSAGE_THREAD if threads == 1 else resource.RUSAGE_SELF
        self._discarded: List[int] = []
        self.wall: List[int] = []
        self._cpu: List[int] = []
        self._switches: List[int] = []

    def discard(self, settle_ns: int, kept: Optional[int] = None) -> None:
        self._discarded += run_for(self._invoke, SETTLE_RUNS, settle_ns, self._flush)[:kept]

    def take(self) -> None:
        invoke, repeats, usage = self._invoke, self._repeats, resource.getrusage
        wall_clock, cpu_clock = time.perf_counter_ns, self._cpu_clock
        if self._flush is not None:
            self._flush()
        switches_before = usage(self._usage_of).ru_nivcsw
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
        self.wall.append(end - start)
        self._cpu.append(cpu_end - cpu_start)
        self._switches.append(usage(self._usage_of).ru_nivcsw - switches_before)

    def samples(self) -> Samples:
        return Samples(self._repeats, tuple(self._discarded), tuple(self.wall), tuple(self._cpu), tuple(self._switches))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector off meanwhile."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def clock_step_ns() -> int:
    """Return the smallest step between two readings of the clock that samples are timed with."""
    readings = [time.perf_counter_ns() for _ in range(1000)]
    steps = [after - before for before, after in zip(readings, readings[1:]) if after > before]
    return min(steps)
