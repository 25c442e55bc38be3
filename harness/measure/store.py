"""The store: every measurement, sample by sample, in one SQLite file that only ever grows.

The coordinating process alone writes it. Each repetition is committed as it arrives, to the disk: a process that is killed loses the
repetition it was taking, nothing else, and the next one finds the benchmark by `Store.unfinished` and goes on with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, insert, or_, select
from sqlalchemy.orm import aliased

from harness.errors import StoreError
from harness.measure.device_records import DeviceRecords
from harness.measure.rows import ComparisonKind, Outcome, Pairing, Row, Session, Solo, Unmeasured
from harness.measure.samples import Failure, Measurement, Provenance, Subject, TimedRepetition
from harness.measure.schema import (
    BenchmarkRow,
    ComparisonRow,
    OutcomeRow,
    RepetitionRow,
    ReportRow,
    SessionRow,
    SoloRow,
    UnmeasuredRow,
)
from latency_agent.protocol import SoloResult

_LISTED = "`harness results` lists what it holds."


class Store(DeviceRecords):
    """The measurements of one results folder. Closed by `close`, or by leaving the `with`.

    Every method raises StoreError where the file cannot be read or written.
    """

    def start_session(self, session: Session) -> str:
        """Store a session that starts now; return its id."""
        new = str(uuid.uuid4())
        with self._write() as connection:
            connection.execute(insert(SessionRow).values(id=new, started_at=datetime.now(UTC), **vars(session)))
        return new

    def start_benchmark(self, session: str, subject: Subject, provenance: Provenance) -> int:
        """Store a benchmark that starts now; return its id."""
        statement = insert(BenchmarkRow).values(
            session=session, subject_key=subject.key(), subject=subject, provenance=provenance, created_at=datetime.now(UTC)
        )
        with self._write() as connection:
            return connection.execute(statement.returning(BenchmarkRow.id)).scalar_one()

    def add_solo(self, benchmark: int, solo: SoloResult, numbers: str) -> None:
        """Store what the repetition that loads one model alone gave, but for its outputs: once a benchmark."""
        with self._write() as connection:
            connection.execute(insert(SoloRow).values(benchmark=benchmark, solo=solo, numbers=numbers))

    def add_repetition(self, benchmark: int, repetition: TimedRepetition) -> None:
        """Store a repetition. When this returns, it is on the disk."""
        with self._write() as connection:
            connection.execute(insert(RepetitionRow).values(benchmark=benchmark, **vars(repetition)))

    def add_pair(self, pairing: Pairing, a: TimedRepetition, b: TimedRepetition) -> None:
        """Store a repetition of each side of a comparison, or neither; both are the same one where they were taken in one process."""
        sides = ((pairing.a, a),) if pairing.a == pairing.b else ((pairing.a, a), (pairing.b, b))
        with self._write() as connection:
            connection.execute(insert(RepetitionRow), [{"benchmark": benchmark, **vars(side)} for benchmark, side in sides])

    def add_repetitions(self, taken: Iterable[tuple[int, TimedRepetition]]) -> None:
        """Store a repetition of each of several benchmarks, or none."""
        with self._write() as connection:
            connection.execute(insert(RepetitionRow), [{"benchmark": benchmark, **vars(one)} for benchmark, one in taken])

    def finish(self, *benchmarks: int) -> None:
        """Store that benchmarks have all their samples: once a benchmark."""
        now = datetime.now(UTC)
        with self._write() as connection:
            connection.execute(insert(OutcomeRow), [{"benchmark": one, "finished_at": now, "ok": True} for one in benchmarks])

    def fail(self, failure: Failure, *benchmarks: int) -> None:
        """Store why benchmarks gave no measurement: once a benchmark."""
        now = datetime.now(UTC)
        with self._write() as connection:
            rows = [{"benchmark": one, "finished_at": now, "ok": False, **vars(failure)} for one in benchmarks]
            connection.execute(insert(OutcomeRow), rows)

    def add_unmeasured(self, device: str, model: str, failure: Failure) -> None:
        """Store why no benchmark of a model could start."""
        with self._write() as connection:
            connection.execute(insert(UnmeasuredRow).values(failed_at=datetime.now(UTC), device=device, model=model, **vars(failure)))

    def unmeasured(self, *, device: str | None = None, model: str | None = None, since: datetime | None = None) -> tuple[Unmeasured, ...]:
        """Return the models that failed before a benchmark could start, the newest first.

        Only those on `device`, called `model`, that failed `since`.
        """
        wanted = []
        if device is not None:
            wanted.append(UnmeasuredRow.device == device)
        if model is not None:
            wanted.append(UnmeasuredRow.model == model)
        if since is not None:
            wanted.append(UnmeasuredRow.failed_at >= since)
        columns = (UnmeasuredRow.device, UnmeasuredRow.model, UnmeasuredRow.failed_at)
        why = (UnmeasuredRow.kind, UnmeasuredRow.message, UnmeasuredRow.stderr_tail)
        statement = select(*columns, *why).where(*wanted).order_by(UnmeasuredRow.id.desc())
        with self._read() as connection:
            return tuple(Unmeasured(*row[:3], Failure(*row[3:])) for row in connection.execute(statement))

    def start_comparison(self, kind: ComparisonKind, a: int, b: int) -> Pairing:
        """Store that two benchmarks are taken in alternation from now on."""
        with self._write() as connection:
            connection.execute(insert(ComparisonRow).values(kind=kind, a=a, b=b, created_at=datetime.now(UTC)))
        return Pairing(a, b)

    def comparisons(
        self,
        kind: ComparisonKind,
        *,
        subjects: tuple[Subject, Subject] | None = None,
        began_after: datetime | None = None,
        device: str | None = None,
        model: str | None = None,
        since: datetime | None = None,
    ) -> tuple[tuple[Pairing, Outcome], ...]:
        """Return the comparisons of a kind, the newest first, each with its outcome.

        Only those of these subjects, that began after a moment, with `device` and `model` (a name) on either side, that ended `since`.
        Only who holds the device's lease may go on with an unfinished one.
        """
        a, b = aliased(BenchmarkRow), aliased(BenchmarkRow)
        wanted = [ComparisonRow.kind == kind]
        if subjects is not None:
            wanted += [side.subject_key == subject.key() for side, subject in zip((a, b), subjects, strict=True)]
        if began_after is not None:
            wanted.append(ComparisonRow.created_at > began_after)
        for name, value in (("device", device), ("model", model)):
            if value is not None:
                wanted.append(or_(*(func.json_extract(side.provenance, f"$.{name}") == value for side in (a, b))))
        if since is not None:
            wanted.append(OutcomeRow.finished_at >= since)
        statement = (
            select(ComparisonRow.a, ComparisonRow.b, OutcomeRow.ok)
            .join(a, a.id == ComparisonRow.a)
            .join(b, b.id == ComparisonRow.b)
            .outerjoin(OutcomeRow, OutcomeRow.benchmark == ComparisonRow.a)
            .where(*wanted)
            .order_by(ComparisonRow.id.desc())
        )
        with self._read() as connection:
            return tuple((Pairing(row.a, row.b), _outcome(row.ok)) for row in connection.execute(statement))

    def row(self, benchmark: int) -> Row:
        """Return a benchmark without its samples; raises StoreError where there is none."""
        found = next(self._rows(BenchmarkRow.id == benchmark), None)
        if found is None:
            raise StoreError(f"{self.path} holds no measurement {benchmark}", _LISTED)
        return found

    def unfinished(self, subject: Subject, since: datetime, besides: Collection[int] = ()) -> int | None:
        """Return the newest benchmark of `subject` that began after `since` and has no outcome, to go on with; None without one.

        Those `besides` it are gone on with already.

        Only who holds the device's lease may ask: another process may be at that benchmark otherwise.
        """
        statement = (
            select(BenchmarkRow.id)
            .outerjoin(OutcomeRow, OutcomeRow.benchmark == BenchmarkRow.id)
            .where(BenchmarkRow.subject_key == subject.key(), BenchmarkRow.created_at >= since, OutcomeRow.benchmark.is_(None))
            .order_by(BenchmarkRow.id.desc())
        )
        with self._read() as connection:
            return next((found for found in connection.execute(statement).scalars() if found not in besides), None)

    def solo(self, benchmark: int) -> Solo | None:
        """Return what `add_solo` stored of a benchmark, None before that."""
        statement = select(SoloRow.solo, SoloRow.numbers).where(SoloRow.benchmark == benchmark)
        with self._read() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else Solo(row.solo, row.numbers)

    def repetitions(self, benchmark: int) -> tuple[TimedRepetition, ...]:
        """Return the stored repetitions of a benchmark, in the order they were stored."""
        statement = (
            select(RepetitionRow.session, RepetitionRow.taken_at, RepetitionRow.models, RepetitionRow.data)
            .where(RepetitionRow.benchmark == benchmark)
            .order_by(RepetitionRow.id)
        )
        with self._read() as connection:
            return tuple(TimedRepetition(*row) for row in connection.execute(statement))

    def sessions(self, benchmark: int) -> dict[str, Session]:
        """Return the sessions that a benchmark was measured in, by their ids; the one that it began in comes first."""
        own = select(BenchmarkRow.session).where(BenchmarkRow.id == benchmark)
        later = select(RepetitionRow.session).where(RepetitionRow.benchmark == benchmark).order_by(RepetitionRow.id)
        columns = (SessionRow.device, SessionRow.fingerprint, SessionRow.runtime, SessionRow.runtime_version, SessionRow.agent_sha256)
        with self._read() as connection:
            names = dict.fromkeys((*connection.execute(own).scalars(), *connection.execute(later).scalars()))
            statement = select(*columns, SessionRow.facts)
            return {name: Session(*connection.execute(statement.where(SessionRow.id == name)).one()) for name in names}

    def finished(self, subject: Subject) -> Iterator[Measurement]:
        """Yield the finished measurements of `subject`, newest first; each is read when it is asked for."""
        statement = (
            select(BenchmarkRow.id)
            .join(OutcomeRow, OutcomeRow.benchmark == BenchmarkRow.id)
            .where(BenchmarkRow.subject_key == subject.key(), OutcomeRow.ok)
            .order_by(OutcomeRow.finished_at.desc(), BenchmarkRow.id.desc())
        )
        with self._read() as connection:
            found = connection.execute(statement).scalars().all()
        for benchmark in found:
            yield self.measurement(benchmark)

    def unreported(self, subject: Subject, *, interval: float, max_time_s: float, fresh: bool, since: datetime) -> int | None:
        """Return the newest measurement of `subject` that nobody was told of, as the call that made it did not come to its end.

        Only one that was asked for the same interval and time, finished `since`, and was to be `fresh` where this one is; None without one.
        """
        asked = {"asked_interval": interval, "max_time_s": max_time_s} | ({"fresh": 1} if fresh else {})
        statement = (
            select(func.max(BenchmarkRow.id))
            .join(OutcomeRow, OutcomeRow.benchmark == BenchmarkRow.id)
            .outerjoin(ReportRow, ReportRow.benchmark == BenchmarkRow.id)
            .where(BenchmarkRow.subject_key == subject.key(), OutcomeRow.ok, OutcomeRow.finished_at >= since)
            .where(
                ReportRow.benchmark.is_(None),
                *(func.json_extract(BenchmarkRow.provenance, f"$.{name}") == value for name, value in asked.items()),
            )
        )
        with self._read() as connection:
            return connection.execute(statement).scalar()

    def report(self, benchmarks: Iterable[int]) -> None:
        """Store that the caller was told of benchmarks."""
        now = datetime.now(UTC)
        rows = [{"benchmark": one, "reported_at": now} for one in benchmarks]
        if rows:
            with self._write() as connection:
                connection.execute(insert(ReportRow).prefix_with("OR IGNORE"), rows)

    def measurement(self, benchmark: int) -> Measurement:
        """Return all that is stored of a benchmark, finished or not; raises StoreError where there is none, or it has no solo yet."""
        row = self.row(benchmark)
        solo = self.solo(benchmark)
        if solo is None:
            raise StoreError(f"{self.path} holds only the beginning of measurement {benchmark}", _LISTED)
        return Measurement(
            id=benchmark,
            subject=row.subject,
            provenance=row.provenance,
            measured_at=row.measured_at,
            solo=solo.result,
            numbers=solo.numbers,
            repetitions=self.repetitions(benchmark),
        )

    def rows(self, *, device: str | None = None, model: str | None = None, since: datetime | None = None) -> Iterator[Row]:
        """Yield every benchmark, the newest first.

        Only those on `device`, of `model` (a name, or 8 or more digits that a SHA-256 starts with), measured at `since` or later.
        """
        wanted = []
        if device is not None:
            wanted.append(func.json_extract(BenchmarkRow.provenance, "$.device") == device)
        if model is not None:
            named = func.json_extract(BenchmarkRow.provenance, "$.model") == model
            sha256 = func.json_extract(BenchmarkRow.subject, "$.model_sha256")
            wanted.append(or_(named, func.substr(sha256, 1, max(len(model), 8)) == model.lower()))
        if since is not None:
            wanted.append(func.coalesce(OutcomeRow.finished_at, BenchmarkRow.created_at) >= since)
        return self._rows(*wanted)

    def _rows(self, *wanted: ColumnElement[bool]) -> Iterator[Row]:
        statement = (
            select(
                BenchmarkRow.id,
                BenchmarkRow.subject,
                BenchmarkRow.provenance,
                BenchmarkRow.created_at,
                OutcomeRow.finished_at,
                OutcomeRow.ok,
                OutcomeRow.kind,
                OutcomeRow.message,
                OutcomeRow.stderr_tail,
            )
            .outerjoin(OutcomeRow, OutcomeRow.benchmark == BenchmarkRow.id)
            .where(*wanted)
            .order_by(BenchmarkRow.id.desc())
        )
        with self._read() as connection:
            found = connection.execute(statement).all()
        for row in found:
            outcome = _outcome(row.ok)
            failure = Failure(row.kind, row.message, row.stderr_tail) if outcome == "failed" else None
            yield Row(row.id, row.subject, row.provenance, row.finished_at or row.created_at, outcome, failure)


def _outcome(ok: bool | None) -> Outcome:
    return "unfinished" if ok is None else "measured" if ok else "failed"
