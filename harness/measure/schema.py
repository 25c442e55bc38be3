"""How measurements lie in the database: the tables, and the column types that carry messages and samples.

The tables are declared here as the code sees them; `migrations/` brings a database file to this form. Nothing is ever
updated or deleted.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Dialect, ForeignKey, LargeBinary, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from harness.errors import StoreError
from harness.measure.samples import Provenance, Subject
from latency_agent import protocol

HEAD = "0003"
"""The newest migration: the schema that this module describes."""

_DAMAGED = "The others are not. Measure this model again with --fresh."
_FORMAT = b"\x01"

Column = npt.NDArray[np.int64]


class Packed(TypeDecorator[Any]):
    """A value kept in the form that `pack` gives it and `unpack` takes: text or bytes."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, what: str, pack: Callable[[Any], str | bytes], unpack: Callable[[Any], Any]) -> None:
        super().__init__()
        self.what = what
        self.pack = pack
        self.unpack = unpack

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str | bytes]:  # noqa: ARG002 - SQLAlchemy's signature
        """Return `pack`; what it raises for a value that cannot be kept comes out as SQLAlchemy's StatementError."""
        return self.pack

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002 - SQLAlchemy's signature
        """Return `unpack`, with StoreError raised where the stored form is damaged."""

        def read(stored: Any) -> Any:
            try:
                return None if stored is None else self.unpack(stored)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, zlib.error) as error:
                raise StoreError(f"a stored {self.what} is damaged: {error}", _DAMAGED) from error

        return read


def pack_time(value: datetime) -> str:
    """Return a time as ISO text in UTC with microseconds, which sorts by time; raises ValueError for one without a zone."""
    if value.tzinfo is None:
        raise ValueError(f"time without a zone: {value}")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def message(kind: type) -> Packed:
    """Return the column type of a frozen dataclass: JSON text."""
    return Packed(kind.__name__, lambda value: _json(protocol.encode(value)), lambda text: protocol.decode(kind, json.loads(text)))


def pack_solo(solo: protocol.SoloResult) -> bytes:
    """Return the bytes of a SoloResult without its outputs, which are compared, not kept: compressed JSON, as its warm-up may be long."""
    return zlib.compress(_json(protocol.encode(dataclasses.replace(solo, outputs=()))).encode())


def unpack_solo(data: bytes) -> protocol.SoloResult:
    """Return the SoloResult that `pack_solo` made `data` of; raises ValueError or zlib.error for anything else."""
    return protocol.decode(protocol.SoloResult, json.loads(zlib.decompress(data)))


def pack(repetition: protocol.Repetition) -> bytes:
    """Return the bytes of a repetition, exact in every nanosecond.

    They are 3 bytes a sample of a model of 8 us (wall time, CPU time and switches together), 4 to 6 of one of 1 ms, and more where a
    chunk holds so few that its head weighs.

    A format byte, then compressed: the JSON of all but the samples, and the samples as five columns of 64-bit integers over all
    chunks (wall time above the chunk's fastest, wall minus CPU time, switches, discarded runs, warm-up runs), small numbers all.
    Bytes of equal weight lie together, so that the empty high ones cost nothing. Raises ValueError where a chunk's columns
    differ in length, OverflowError past 64 bits.
    """
    chunks = repetition.chunks
    for index, chunk in enumerate(chunks):
        if not len(chunk.wall_ns) == len(chunk.cpu_ns) == len(chunk.switches):
            counts = f"{len(chunk.wall_ns)} wall times, {len(chunk.cpu_ns)} CPU times, {len(chunk.switches)} switch counts"
            raise ValueError(f"chunk {index} has {counts}")
    sizes = [len(chunk.wall_ns) for chunk in chunks]
    fastest = [min(chunk.wall_ns, default=0) for chunk in chunks]
    rest = dataclasses.replace(
        repetition,
        chunks=tuple(dataclasses.replace(chunk, discarded_ns=(), wall_ns=(), cpu_ns=(), switches=()) for chunk in chunks),
        warmup_ns=(),
    )
    header = {
        "samples": sizes,
        "fastest": fastest,
        "discarded": [len(chunk.discarded_ns) for chunk in chunks],
        "warmup": [len(runs) for runs in repetition.warmup_ns],
        "rest": protocol.encode(rest),
    }
    wall = _column([chunk.wall_ns for chunk in chunks])
    columns = (
        wall - np.repeat(np.array(fastest, np.int64), sizes),
        wall - _column([chunk.cpu_ns for chunk in chunks]),
        _column([chunk.switches for chunk in chunks]),
        _column([chunk.discarded_ns for chunk in chunks]),
        _column(list(repetition.warmup_ns)),
    )
    text = _json(header).encode()
    return _FORMAT + zlib.compress(b"".join((len(text).to_bytes(4, "little"), text, *map(_to_bytes, columns))))


def unpack(data: bytes) -> protocol.Repetition:
    """Return the repetition that `pack` made `data` of; raises ValueError or zlib.error for anything else."""
    if data[:1] != _FORMAT:
        raise ValueError(f"unknown format {data[:1]!r}")
    body = zlib.decompress(data[1:])
    start = 4 + int.from_bytes(body[:4], "little")
    header = json.loads(body[4:start])
    samples, discarded, warmup = header["samples"], header["discarded"], header["warmup"]
    counts = [sum(samples), sum(samples), sum(samples), sum(discarded), sum(warmup)]
    above, off_cpu, switches, dropped, warm = _from_bytes(body[start:], counts)
    wall = above + np.repeat(np.array(header["fastest"], np.int64), samples)
    rest = protocol.decode(protocol.Repetition, header["rest"])
    columns = zip(
        rest.chunks,
        _split(dropped, discarded),
        _split(wall, samples),
        _split(wall - off_cpu, samples),
        _split(switches, samples),
        strict=True,
    )
    chunks = tuple(
        dataclasses.replace(chunk, discarded_ns=gone, wall_ns=walls, cpu_ns=cpus, switches=switched)
        for chunk, gone, walls, cpus, switched in columns
    )
    return dataclasses.replace(rest, chunks=chunks, warmup_ns=_split(warm, warmup))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _column(parts: list[tuple[int, ...]]) -> Column:
    return np.array([value for part in parts for value in part], np.int64)


def _split(column: Column, counts: list[int]) -> tuple[tuple[int, ...], ...]:
    values = column.tolist()
    ends = np.cumsum([0, *counts]).tolist()
    return tuple(tuple(values[start:end]) for start, end in pairwise(ends))


def _to_bytes(column: Column) -> bytes:
    # The sign moves to the lowest bit: -1 would otherwise set every high byte.
    folded = ((column << 1) ^ (column >> 63)).astype("<i8")
    return folded.view(np.uint8).reshape(-1, 8).T.tobytes()


def _from_bytes(data: bytes, counts: list[int]) -> list[Column]:
    if len(data) != 8 * sum(counts):
        raise ValueError(f"{len(data)} bytes for {sum(counts)} numbers")
    columns, start = [], 0
    for count in counts:
        part = np.frombuffer(data, np.uint8, 8 * count, start).reshape(8, count).T.copy()
        folded = part.reshape(-1).view("<u8")
        columns.append((folded >> 1).astype(np.int64) ^ -(folded & 1).astype(np.int64))
        start += 8 * count
    return columns


def unpack_time(text: str) -> datetime:
    """Return the time of `pack_time`; raises ValueError for one without a zone."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"time without a zone: {text}")
    return value


UTC_TIME = Packed("time", pack_time, unpack_time)


class Base(DeclarativeBase):
    """All tables of the store."""


class SessionRow(Base):
    """One live agent on one device."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    device: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    runtime: Mapped[str] = mapped_column(Text)
    runtime_version: Mapped[str] = mapped_column(Text)
    agent_sha256: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(UTC_TIME)
    facts: Mapped[protocol.Facts] = mapped_column(message(protocol.Facts))


class BenchmarkRow(Base):
    """One benchmark, from the moment it starts; `session` is the one it started in."""

    __tablename__ = "benchmarks"
    id: Mapped[int] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(Text, ForeignKey("sessions.id"))
    subject_key: Mapped[str] = mapped_column(Text, index=True)
    subject: Mapped[Subject] = mapped_column(message(Subject))
    provenance: Mapped[Provenance] = mapped_column(message(Provenance))
    created_at: Mapped[datetime] = mapped_column(UTC_TIME)


class SoloRow(Base):
    """What the repetition of a benchmark that loads one model alone gave."""

    __tablename__ = "solos"
    benchmark: Mapped[int] = mapped_column(ForeignKey("benchmarks.id"), primary_key=True)
    solo: Mapped[protocol.SoloResult] = mapped_column(Packed("SoloResult", pack_solo, unpack_solo))
    numbers: Mapped[str] = mapped_column(Text)


class RepetitionRow(Base):
    """One timed repetition of a benchmark; `session` is the one it was taken in, which may be a later one."""

    __tablename__ = "repetitions"
    id: Mapped[int] = mapped_column(primary_key=True)
    benchmark: Mapped[int] = mapped_column(ForeignKey("benchmarks.id"), index=True)
    session: Mapped[str] = mapped_column(Text, ForeignKey("sessions.id"))
    taken_at: Mapped[datetime] = mapped_column(UTC_TIME)
    models: Mapped[tuple[str, ...]] = mapped_column(Packed("list", _json, lambda text: tuple(json.loads(text))))
    data: Mapped[protocol.Repetition] = mapped_column(Packed("Repetition", pack, unpack))


class OutcomeRow(Base):
    """How a benchmark ended; a benchmark without one can be gone on with."""

    __tablename__ = "outcomes"
    benchmark: Mapped[int] = mapped_column(ForeignKey("benchmarks.id"), primary_key=True)
    finished_at: Mapped[datetime] = mapped_column(UTC_TIME)
    ok: Mapped[bool]
    kind: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    stderr_tail: Mapped[str | None] = mapped_column(Text)


class ReportRow(Base):
    """That a benchmark's outcome was told to who asked for it; of one without, the call was cut short."""

    __tablename__ = "reports"
    benchmark: Mapped[int] = mapped_column(ForeignKey("benchmarks.id"), primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(UTC_TIME)


class ReferenceRow(Base):
    """The median of a reference model in one session; `subject_key` hashes what it depends on: the model and all settings."""

    __tablename__ = "reference_medians"
    id: Mapped[int] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(Text, ForeignKey("sessions.id"))
    taken_at: Mapped[datetime] = mapped_column(UTC_TIME)
    subject_key: Mapped[str] = mapped_column(Text, index=True)
    subject: Mapped[Subject] = mapped_column(message(Subject))
    median_ns: Mapped[float]


class ComparisonRow(Base):
    """Two benchmarks taken in alternation, the same one twice where a model was compared with itself on one device; over with `a`."""

    __tablename__ = "comparisons"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    a: Mapped[int] = mapped_column(ForeignKey("benchmarks.id"))
    b: Mapped[int] = mapped_column(ForeignKey("benchmarks.id"))
    created_at: Mapped[datetime] = mapped_column(UTC_TIME)


class UnmeasuredRow(Base):
    """A model that failed before a benchmark of it could start: it has no SHA-256 yet."""

    __tablename__ = "unmeasured"
    id: Mapped[int] = mapped_column(primary_key=True)
    failed_at: Mapped[datetime] = mapped_column(UTC_TIME)
    device: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text)
    stderr_tail: Mapped[str] = mapped_column(Text)


class AATestRow(Base):
    """An A/A test that has ended. `settings_key` hashes device, runtime and settings, `subject_key` the model as well.

    `relative_sd` is the spread between the `visits` of all tests of the model so far, absent where too few were undisturbed.
    """

    __tablename__ = "aa_tests"
    id: Mapped[int] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime] = mapped_column(UTC_TIME)
    settings_key: Mapped[str] = mapped_column(Text, index=True)
    subject_key: Mapped[str] = mapped_column(Text)
    relative_sd: Mapped[float | None]
    visits: Mapped[int]


class EquivalenceRow(Base):
    """A test of whether two devices are equal; their keys hash device, runtime and settings."""

    __tablename__ = "equivalences"
    id: Mapped[int] = mapped_column(primary_key=True)
    tested_at: Mapped[datetime] = mapped_column(UTC_TIME)
    a_key: Mapped[str] = mapped_column(Text, index=True)
    b_key: Mapped[str] = mapped_column(Text)
    within: Mapped[float]
    farthest: Mapped[float]
    equal: Mapped[bool]
