"""What one repetition does: which models, in which order, for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from latency_agent.protocol import Facts, ModelFile, SoloResult, TimedTask

SEED = 0
WARMUP_NS = 50_000_000
SETTLE_NS = 10_000_000
CANDIDATE_CHUNK_NS = 100_000_000
REFERENCE_CHUNK_NS = 50_000_000
REFERENCE_CHUNK_RUNS = 5
CANDIDATE_CHUNKS = 4
LEAST_REPETITIONS = 7
COMPARE_EXCHANGES = 4
COMPARE_EXCHANGE_NS = 350_000_000
COMPARE_PAIRS = 2
LEAST_TIMEOUT_S = 20.0
MOST_FLAWED = 4
"""So many repetitions of one benchmark are measured again because something disturbed them; then the result stands with its verdict."""
Schedule = tuple[tuple[int, ...], ...]
RESUMED_WITHIN = timedelta(hours=1)
"""An interrupted benchmark that began longer ago is not gone on with: its repetitions are of another visit."""
ANSWERED_WITHIN = timedelta(days=7)
"""A call that was cut short is gone on with for so long: what it finished is not measured anew, steady or not."""
_FLUSH_BYTES_WITHOUT_SYSFS = 64 << 20
_SLOWEST_REPETITION_NS = 4_000_000_000
_SLOWEST_COMPARISON_NS = 8_000_000_000
BEFORE = ((1,), (0,), (1,))
AFTER = ((0,), (1,), (0,), (1,))


@dataclass(frozen=True)
class RunConfig:
    """How a benchmark is run. `interval` is the relative half-width to reach, `max_time_s` the measuring time that a model may take."""

    threads: int = 1
    interval: float = 0.02
    max_time_s: float = 60.0
    cold: bool = False
    fresh: bool = False

    @property
    def solo_timeout_s(self) -> float:
        """How long a worker may take for the first runs of a model of unknown latency before it counts as hung."""
        return LEAST_TIMEOUT_S + 2 * self.max_time_s

    def timed_timeout_s(self, latency_ns: float, runs: int) -> float:
        """How long a worker may take for a repetition of `runs` timed runs: ten times what the slowest machine should need."""
        return LEAST_TIMEOUT_S + 2 * self.max_time_s + 10 * (runs + 10) * latency_ns / 1e9


def flush_bytes(facts: Facts) -> int:
    """Return the size of the buffer that empties the caches: twice the last level, 64 MiB where the kernel does not tell it."""
    return 2 * facts.last_level_cache_bytes if facts.last_level_cache_bytes else _FLUSH_BYTES_WITHOUT_SYSFS


def typical_ns(solo: SoloResult) -> float:
    """Return about how long a run takes: the median of the warm-up runs of the first repetition."""
    return median(solo.warmup_ns)


def candidate_chunks(latency_ns: float) -> tuple[int, int]:
    """Return how many chunks a repetition has for a candidate of this latency, and how many runs each holds at least.

    Slow models get fewer chunks, because each begins with 3 discarded runs.
    """
    for runs, chunks in ((5, CANDIDATE_CHUNKS), (5, 2), (3, 1)):
        if chunks * (runs + 3) * latency_ns <= _SLOWEST_REPETITION_NS:
            return chunks, runs
    return 1, 1


def compare_exchanges(latency_ns: float) -> tuple[int, int]:
    """Return how many exchanges a process has where the slower model has this latency, and how many pairs of samples each at least.

    A pair takes about ten runs of the slower model: three discarded and two timed of each.
    """
    for exchanges, pairs in ((COMPARE_EXCHANGES, COMPARE_PAIRS), (COMPARE_EXCHANGES, 1)):
        if 10 * exchanges * pairs * latency_ns <= _SLOWEST_COMPARISON_NS:
            return exchanges, pairs
    return 3, 1


def benchmark_schedule(chunks: int) -> Schedule:
    """Return the order of chunks of a benchmark: the references (0, 1) around the candidate's (2), the mobile one (0) between them."""
    return (*BEFORE, *((0,), (2,)) * chunks, *AFTER)


def compare_schedule(exchanges: int) -> Schedule:
    """Return the order of chunks of a comparison: both candidates (2, 3) in turn between the references."""
    return (*BEFORE, *((2, 3),) * exchanges, *AFTER)


def batch_schedule(groups: Sequence[Sequence[int]], rounds: int = 1) -> Schedule:
    """Return the order of chunks of a batch: rounds over all groups, the mobile reference (0) before the models of each."""
    return (*BEFORE, *((model,) for group in (*groups,) * rounds for model in (0, *group)), *AFTER)


def timed_task(
    references: Sequence[ModelFile],
    candidates: Sequence[ModelFile],
    schedule: Schedule,
    *,
    cores: tuple[int, ...],
    chunk_ns: int,
    chunk_runs: int,
    flush: int | None,
    timeout_s: float,
    warmup_ns: int = WARMUP_NS,
    settle_ns: int = SETTLE_NS,
) -> TimedTask:
    """Return the task of one repetition of `candidates` between the two references."""
    return TimedTask(
        models=(*references, *candidates),
        schedule=schedule,
        cores=cores,
        threads=len(cores),
        seed=SEED,
        warmup_ns=warmup_ns,
        chunk_ns=(REFERENCE_CHUNK_NS,) * len(references) + (chunk_ns,) * len(candidates),
        chunk_runs=(REFERENCE_CHUNK_RUNS,) * len(references) + (chunk_runs,) * len(candidates),
        settle_ns=(SETTLE_NS,) * len(references) + (settle_ns,) * len(candidates),
        flush_bytes=flush,
        timeout_s=timeout_s,
    )
