"""Measurements that another host took, handed to the process that keeps the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from harness.measure.rows import Session
from harness.measure.samples import Failure, Provenance, Subject, TimedRepetition
from harness.measure.store import Store


@dataclass(frozen=True)
class Handed:
    """A benchmark with its repetitions, and the sessions that it was measured in by the ids that these name, its own first."""

    sessions: Mapping[str, Session]
    subject: Subject
    provenance: Provenance
    repetitions: tuple[TimedRepetition, ...]
    failure: Failure | None


def handed_over(store: Store) -> tuple[Handed, ...]:
    """Return every benchmark of a store that has an outcome, the oldest first."""
    rows = sorted((row for row in store.rows() if row.outcome != "unfinished"), key=lambda row: row.id)
    return tuple(Handed(store.sessions(row.id), row.subject, row.provenance, store.repetitions(row.id), row.failure) for row in rows)


def take_in(store: Store, handed: Iterable[Handed]) -> tuple[int, ...]:
    """Store benchmarks that were handed over, and return their ids here."""
    known: dict[str, str] = {}
    taken = []
    for one in handed:
        for there, session in one.sessions.items():
            if there not in known:
                known[there] = store.start_session(session)
        benchmark = store.start_benchmark(known[next(iter(one.sessions))], one.subject, one.provenance)
        if one.repetitions:
            store.add_repetitions((benchmark, replace(repetition, session=known[repetition.session])) for repetition in one.repetitions)
        if one.failure is None:
            store.finish(benchmark)
        else:
            store.fail(one.failure, benchmark)
        taken.append(benchmark)
    return tuple(taken)
