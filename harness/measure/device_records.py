"""What the store knows of devices beside single measurements: their references, their spread between visits, which are equal."""

from __future__ import annotations

import statistics
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import insert, select

from harness.measure.database import Database
from harness.measure.rows import Equivalence
from harness.measure.samples import Subject
from harness.measure.schema import AATestRow, EquivalenceRow, ReferenceRow

BASELINE_SESSIONS = 5
"""How many sessions a reference model must have been seen in before it has a baseline."""


class DeviceRecords(Database):
    """The part of the store that speaks of devices under a runtime and settings, whatever was measured there."""

    def add_reference(self, session: str, subject: Subject, name: str, median_ns: float) -> None:
        """Store the median of a reference, known by `name`, that a session saw under the settings of `subject`.

        Of several in one session, the last one counts.
        """
        reference = _reference(subject, name)
        statement = insert(ReferenceRow).values(
            session=session, taken_at=datetime.now(UTC), subject_key=reference.key(), subject=reference, median_ns=median_ns
        )
        with self._write() as connection:
            connection.execute(statement)

    def reference_baseline(self, subject: Subject, name: str, before: datetime | None = None) -> float | None:
        """Return the median of a reference in nanoseconds over all sessions under the device, runtime and settings of `subject`.

        Only sessions that ended `before` count, where that is given. None until there are `BASELINE_SESSIONS` of them.
        """
        statement = (
            select(ReferenceRow.session, ReferenceRow.median_ns)
            .where(ReferenceRow.subject_key == _reference(subject, name).key())
            .order_by(ReferenceRow.id)
        )
        if before is not None:
            statement = statement.where(ReferenceRow.taken_at < before)
        with self._read() as connection:
            seen = {row.session: row.median_ns for row in connection.execute(statement)}
        return statistics.median(seen.values()) if len(seen) >= BASELINE_SESSIONS else None

    def end_aa_test(self, subject: Subject, relative_sd: float, visits: int) -> None:
        """Store that an A/A test of `subject` has ended, and the spread between all visits so far."""
        settings = _settings(subject)
        row = {"ended_at": datetime.now(UTC), "settings_key": settings, "subject_key": subject.key(), "relative_sd": relative_sd}
        with self._write() as connection:
            connection.execute(insert(AATestRow).values(visits=visits, **row))

    def last_aa_test(self, subject: Subject) -> datetime | None:
        """Return when the last A/A test of `subject` ended, None before the first."""
        statement = select(AATestRow.ended_at).where(AATestRow.subject_key == subject.key()).order_by(AATestRow.id.desc()).limit(1)
        with self._read() as connection:
            return connection.execute(statement).scalar()

    def spread(self, subject: Subject) -> float | None:
        """Return the relative standard deviation between visits under the device, runtime and settings of `subject`, of any model.

        Of several A/A tests the one that rests on most visits counts, the newest of equals. None before there is one.
        """
        statement = (
            select(AATestRow.relative_sd)
            .where(AATestRow.settings_key == _settings(subject), AATestRow.relative_sd.is_not(None))
            .order_by(AATestRow.visits.desc(), AATestRow.id.desc())
            .limit(1)
        )
        with self._read() as connection:
            return connection.execute(statement).scalar()

    def end_equivalence_test(self, a: Subject, b: Subject, test: Equivalence) -> None:
        """Store what a test of two devices, under the runtime and settings of these subjects, has found."""
        row = {"a_key": _settings(a), "b_key": _settings(b), **vars(test)}
        with self._write() as connection:
            connection.execute(insert(EquivalenceRow).values(row))

    def equivalence(self, a: Subject, b: Subject) -> Equivalence | None:
        """Return what the newest test of these two devices under these settings found, None where they were never tested."""
        keys = (_settings(a), _settings(b))
        statement = (
            select(EquivalenceRow.tested_at, EquivalenceRow.within, EquivalenceRow.farthest, EquivalenceRow.equal)
            .where(EquivalenceRow.a_key.in_(keys), EquivalenceRow.b_key.in_(keys))
            .order_by(EquivalenceRow.id.desc())
            .limit(1)
        )
        with self._read() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else Equivalence(*row)


def _reference(subject: Subject, name: str) -> Subject:
    """Return what a reference model's latency depends on: the settings of the subject beside it, not its inputs and design."""
    return replace(subject, model_sha256=name, shapes=(), seed=0, design="reference")


def _settings(subject: Subject) -> str:
    """Return the key of a device, runtime and settings, whichever model is measured."""
    return _reference(subject, "spread").key()
