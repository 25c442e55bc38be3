"""What the store's tests put into it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.measure.database import FILE_NAME
from harness.measure.rows import Session
from harness.measure.samples import Provenance, Subject, TimedRepetition
from harness.measure.store import Store
from latency_agent.protocol import Chunk, Conditions, Core, Facts, InputShape, Output, Repetition, SoloResult

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
MODELS = ("11" * 32, "22" * 32, "ab" * 32)
CORES = (Core(0, 512, None, (0, 1), allowed=True), Core(1, 1024, 2_000_000, (0, 1), allowed=False))
FACTS = Facts("77" * 32, "Cortex-A76", CORES, "6.6.1", "Debian 12", 2**33, None, 2**21)
SESSION = Session("pi4", "fp", "ai-edge-litert", "2.3.0", "cd" * 32, FACTS)
SUBJECT = Subject(MODELS[2], "fp", "ai-edge-litert", "2.3.0", (1,), None, 1, cold=False, seed=0, shapes=(InputShape("x", (1, 8)),))
PROVENANCE = Provenance("net", 1234, "float32", None, "pi4", FACTS, "cpu_capacity", "3.11.2", "cd" * 32, 0.02, 60.0)
CONDITIONS = Conditions(5, 0.25, None, None, 48.3, None, 2**32, 2**40)
SOLO = SoloResult(9, 8, 7, None, 12, (3, 2, 1), (Output("y", "float32", (1,), "AAAAAA==", 0.0, 0),), (1,), 99)


def repetition(seed: int, *, samples: int = 100, median_ns: int = 8_000) -> Repetition:
    """Return a repetition of 6 chunks like those of a quiet core: gamma-distributed, one run of a hundred interrupted."""
    generator = np.random.default_rng(seed)
    chunks = []
    for position in range(6):
        interrupted = generator.random(samples) < 0.01
        wall = (median_ns * (1 + 0.02 * generator.gamma(2, 1, samples))).astype(np.int64) + interrupted * 40_000
        cpu = wall - generator.integers(-60, 400, samples) - interrupted * 35_000
        chunks.append(
            Chunk(
                model=position % 3,
                start_ns=10**15 + position * 60_000_000 + int(generator.integers(10**6)),
                repeats=1,
                discarded_ns=tuple(generator.integers(8_000, 60_000, 3).tolist()),
                wall_ns=tuple(wall.tolist()),
                cpu_ns=tuple(cpu.tolist()),
                switches=tuple(interrupted.astype(int).tolist()),
                frequency_khz=2_000_000,
                temperature_c=48.3,
                steal_ns=None,
            )
        )
    return Repetition(tuple(chunks), ((9_000, 8_000), (), (7_000,)), (1,), CONDITIONS, CONDITIONS, wall_ns=seed)


def timed(session: str, seed: int, **how: int) -> TimedRepetition:
    """Return the repetition of `seed`, taken in `session` at a time that `seed` gives."""
    return TimedRepetition(session, datetime.fromtimestamp(1_700_000_000 + seed, UTC), MODELS, repetition(seed, **how))


def measured(store: Store, seeds: tuple[int, ...], subject: Subject = SUBJECT) -> int:
    """Store a finished benchmark; return its id."""
    session = store.start_session(SESSION)
    benchmark = store.start_benchmark(session, subject, PROVENANCE)
    store.add_solo(benchmark, SOLO, "within 1e-05 of Keras")
    for seed in seeds:
        store.add_repetition(benchmark, timed(session, seed))
    store.finish(benchmark)
    return benchmark


@contextmanager
def raw(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield the database itself, past the store; what was done is committed."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        yield connection
