from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine.default import DefaultDialect

from harness.errors import StoreError
from harness.measure.samples import Failure, Subject, TimedRepetition
from harness.measure.schema import Packed, pack, unpack, unpack_time
from harness.measure.store import Store
from latency_agent.protocol import Chunk, Conditions, Repetition
from tests.measure.test_store_given import LONG_AGO, MODELS, PROVENANCE, SESSION, SOLO, SUBJECT, measured, raw, repetition, timed

INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES = st.lists(st.one_of(INT64, st.integers(0, 10**6)), max_size=20).map(tuple)
PROBED = st.one_of(st.none(), INT64)
FLOATS = st.floats(allow_nan=False)
CONDITIONS = st.builds(Conditions, INT64, st.none() | FLOATS, st.none() | st.text(), PROBED, st.none() | FLOATS, PROBED, PROBED, INT64)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    samples = draw(st.lists(st.tuples(INT64, INT64, INT64), max_size=30))
    wall, cpu, switches = zip(*samples, strict=True) if samples else ((), (), ())
    probed = draw(PROBED), draw(st.none() | FLOATS), draw(PROBED)
    return Chunk(draw(st.integers(0, 9)), draw(INT64), draw(st.integers(1, 10**6)), draw(TIMES), wall, cpu, switches, *probed)


REPETITIONS = st.builds(
    Repetition,
    chunks=st.lists(chunks(), max_size=5).map(tuple),
    warmup_ns=st.lists(TIMES, max_size=4).map(tuple),
    affinity=st.lists(st.integers(0, 255), max_size=4).map(tuple),
    before=CONDITIONS,
    after=CONDITIONS,
    wall_ns=INT64,
)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(timezone(timedelta(hours=-7))))  # noqa: DTZ001 - bounds have none


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results") as opened:
        yield opened


@settings(max_examples=60)
@given(REPETITIONS)
def test_a_packed_repetition_is_unpacked_unchanged(given_repetition: Repetition) -> None:
    assert unpack(pack(given_repetition)) == given_repetition


@settings(max_examples=20, deadline=None)
@given(data=st.lists(st.tuples(MOMENTS, REPETITIONS), max_size=3))
def test_a_measurement_comes_back_unchanged(data: list[tuple[datetime, Repetition]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "shared"
    with Store.open(folder) as store:
        session = store.start_session(SESSION)
        put_in = tuple(TimedRepetition(session, moment, MODELS, repetition) for moment, repetition in data)
        benchmark = store.start_benchmark(session, SUBJECT, PROVENANCE)
        store.add_solo(benchmark, SOLO, "not compared (random operators)")
        for each in put_in:
            store.add_repetition(benchmark, each)
        store.finish(benchmark)
    with Store.open(folder, read_only=True) as store:
        got = store.measurement(benchmark)
    assert got.repetitions == put_in
    assert all(each.taken_at.utcoffset() == timedelta(0) for each in got.repetitions)
    assert (got.subject, got.provenance, got.numbers) == (SUBJECT, PROVENANCE, "not compared (random operators)")
    assert got.solo == replace(SOLO, outputs=())


@pytest.mark.parametrize(("median_ns", "samples", "bound"), [(8_000, 6_000, 3.0), (1_000_000, 60, 8.0)])
def test_samples_are_compact(median_ns: int, samples: int, bound: float) -> None:
    packed = pack(repetition(1, samples=samples, median_ns=median_ns))
    assert len(packed) / (6 * samples) < bound  # as three 64-bit integers they would be 24 bytes


def test_an_unfinished_benchmark_is_found_and_gone_on_with_in_a_later_session(store: Store) -> None:
    first = store.start_session(SESSION)
    benchmark = store.start_benchmark(first, SUBJECT, PROVENANCE)
    assert store.solo(benchmark) is None
    with pytest.raises(StoreError, match="only the beginning of measurement"):
        store.measurement(benchmark)
    store.add_solo(benchmark, SOLO, "n")
    store.add_repetition(benchmark, timed(first, 1))

    second = store.start_session(SESSION)
    assert store.unfinished(SUBJECT, since=LONG_AGO) == benchmark
    assert store.unfinished(replace(SUBJECT, threads=2), since=LONG_AGO) is None
    assert store.repetitions(benchmark) == (timed(first, 1),)
    assert list(store.finished(SUBJECT)) == []
    store.add_repetition(benchmark, timed(second, 2))
    store.finish(benchmark)
    assert store.unfinished(SUBJECT, since=LONG_AGO) is None
    assert [each.session for each in next(store.finished(SUBJECT)).repetitions] == [first, second]


def test_what_is_gone_on_with_already_is_not_gone_on_with_twice(store: Store) -> None:
    session = store.start_session(SESSION)
    first, second = (store.start_benchmark(session, SUBJECT, PROVENANCE) for _ in range(2))
    assert store.unfinished(SUBJECT, LONG_AGO, {second}) == first
    assert store.unfinished(SUBJECT, LONG_AGO, {first, second}) is None


def test_finished_measurements_come_newest_first_and_without_failures(store: Store) -> None:
    old, new = measured(store, (1,)), measured(store, (2, 3))
    other = measured(store, (4,), replace(SUBJECT, governor="performance"))
    failed = store.start_benchmark(store.start_session(SESSION), SUBJECT, PROVENANCE)
    store.fail(Failure("AgentDied", "segfault", "Fatal"), failed)
    assert [each.id for each in store.finished(SUBJECT)] == [new, old]
    assert [(row.id, row.outcome) for row in store.rows()] == [
        (failed, "failed"),
        (other, "measured"),
        (new, "measured"),
        (old, "measured"),
    ]
    assert next(store.rows()).failure == Failure("AgentDied", "segfault", "Fatal")
    assert store.unfinished(SUBJECT, since=LONG_AGO) is None


def test_rows_are_chosen_by_device_model_and_time(store: Store) -> None:
    before = datetime.now(UTC)
    benchmark = measured(store, (1,))
    session = store.start_session(SESSION)
    other = store.start_benchmark(session, SUBJECT, replace(PROVENANCE, model="ab", device="phone"))

    def ids(**wanted: str) -> list[int]:
        return [row.id for row in store.rows(**wanted)]  # type: ignore[arg-type]

    assert ids() == [other, benchmark]
    assert ids(device="pi4") == [benchmark]
    assert ids(model="net") == [benchmark]
    assert ids(model="ab") == [other]
    assert ids(model=MODELS[2][:8].upper()) == [other, benchmark]
    assert ids(model="nothing") == []
    assert len(list(store.rows(since=before))) == 2
    assert list(store.rows(since=datetime.now(UTC) + timedelta(seconds=1))) == []
    row = next(store.rows(model="net"))
    assert before <= row.measured_at <= datetime.now(UTC)
    assert row.measured_at == store.measurement(benchmark).measured_at


def test_a_reference_has_a_baseline_from_five_sessions_on(store: Store) -> None:
    for median_ns in (1.0, 2.0, 3.0, 40.0):
        session = store.start_session(SESSION)
        store.add_reference(session, SUBJECT, "r", 1000.0)
        store.add_reference(session, SUBJECT, "r", median_ns)
        store.add_reference(session, replace(SUBJECT, threads=2), "r", 7.0)
        assert store.reference_baseline(SUBJECT, "r") is None
    store.add_reference(store.start_session(SESSION), replace(SUBJECT, model_sha256="another", seed=9, shapes=()), "r", 5.0)
    assert store.reference_baseline(SUBJECT, "r") == 3.0
    assert store.reference_baseline(SUBJECT, "q") is None


@pytest.mark.parametrize(
    "change", [{"threads": 2}, {"cores": (0,)}, {"governor": "powersave"}, {"cold": True}, {"fingerprint": "x"}, {"method": 0}]
)
def test_a_baseline_is_of_one_device_and_its_settings(store: Store, change: dict[str, object]) -> None:
    for _ in range(5):
        store.add_reference(store.start_session(SESSION), SUBJECT, "r", 3.0)
    changed: Subject = replace(SUBJECT, **change)  # type: ignore[arg-type]
    assert store.reference_baseline(changed, "r") is None


def test_the_spread_that_rests_on_most_visits_counts(store: Store) -> None:
    other_model = replace(SUBJECT, model_sha256="ef" * 32, design="compare", shapes=())
    assert store.spread(SUBJECT) is None
    for relative_sd, visits in ((0.012, 40), (0.5, 3), (0.3, 2)):
        store.end_aa_test(SUBJECT, relative_sd, visits)
    assert store.spread(other_model) == 0.012
    store.end_aa_test(other_model, 0.02, 40)
    assert store.spread(SUBJECT) == 0.02


@pytest.mark.parametrize("change", [{"threads": 2}, {"cores": (0,)}, {"governor": "powersave"}, {"cold": True}, {"runtime_version": "9"}])
def test_a_spread_is_of_one_device_runtime_and_settings(store: Store, change: dict[str, object]) -> None:
    store.end_aa_test(SUBJECT, 0.012, 40)
    changed: Subject = replace(SUBJECT, **change)  # type: ignore[arg-type]
    assert store.spread(changed) is None


def test_the_end_of_an_a_a_test_is_kept_by_model(store: Store) -> None:
    before = datetime.now(UTC)
    assert store.last_aa_test(SUBJECT) is None
    store.end_aa_test(SUBJECT, 0.1, 1)
    ended = store.last_aa_test(SUBJECT)
    assert ended is not None
    assert before <= ended <= datetime.now(UTC)
    assert store.last_aa_test(replace(SUBJECT, model_sha256="ef" * 32)) is None


def test_a_model_that_never_started_is_kept_with_its_failure(store: Store) -> None:
    failure = Failure("ConversionError", "broken.keras: no layers", "")
    before = datetime.now(UTC)
    store.add_unmeasured("pi4", "broken.keras", failure)
    store.add_unmeasured("other", "more.keras", failure)
    assert [(one.device, one.model, one.failure) for one in store.unmeasured(device="pi4")] == [("pi4", "broken.keras", failure)]
    assert [one.model for one in store.unmeasured()] == ["more.keras", "broken.keras"]
    assert store.unmeasured(model="broken.keras")[0].failed_at >= before
    assert store.unmeasured(since=datetime.now(UTC) + timedelta(hours=1)) == ()


def test_a_comparison_is_found_with_its_outcome(store: Store) -> None:
    session = store.start_session(SESSION)
    other = replace(SUBJECT, model_sha256="ef" * 32)
    a = store.start_benchmark(session, SUBJECT, PROVENANCE)
    b = store.start_benchmark(session, other, replace(PROVENANCE, model="pruned"))
    pairing = store.start_comparison("compare", a, b)
    assert store.comparisons("compare") == store.comparisons("compare", subjects=(SUBJECT, other)) == ((pairing, "unfinished"),)
    for name in ("net", "pruned"):
        assert store.comparisons("compare", model=name, device="pi4") == ((pairing, "unfinished"),)
    assert store.comparisons("aa") == store.comparisons("compare", subjects=(other, SUBJECT)) == ()
    assert store.comparisons("compare", model="other") == store.comparisons("compare", device="other") == ()
    assert store.comparisons("compare", began_after=datetime.now(UTC)) == ()
    before = datetime.now(UTC)
    store.finish(a, b)
    assert store.comparisons("compare", since=before) == ((pairing, "measured"),)
    assert store.comparisons("compare", since=datetime.now(UTC)) == ()
    again = store.start_comparison("compare", *(store.start_benchmark(session, SUBJECT, PROVENANCE) for _ in range(2)))
    store.fail(Failure("TimedOut", "late", ""), *again.benchmarks)
    assert store.comparisons("compare") == ((again, "failed"), (pairing, "measured"))


def test_a_pair_is_stored_whole_or_not_at_all(store: Store) -> None:
    session = store.start_session(SESSION)
    a, b = (store.start_benchmark(session, SUBJECT, PROVENANCE) for _ in range(2))
    pairing = store.start_comparison("compare", a, b)
    store.add_pair(pairing, timed(session, 1), timed(session, 2))
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.add_pair(pairing, timed(session, 3), replace(timed(session, 4), session="unknown"))
    assert store.repetitions(a) == (timed(session, 1),)
    assert store.repetitions(b) == (timed(session, 2),)


def test_what_cannot_be_stored_is_a_store_error_and_leaves_nothing(store: Store) -> None:
    benchmark = measured(store, (1,))
    session = store.start_session(SESSION)
    good = timed(session, 2)
    chunk = good.data.chunks[0]
    bad = {
        "FOREIGN KEY": replace(good, session="unknown"),
        "without a zone": replace(good, taken_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - the point
        "chunk 0 has 100 wall times, 1 CPU": replace(good, data=replace(good.data, chunks=(replace(chunk, cpu_ns=(1,)),))),
        "too large|too big": replace(good, data=replace(good.data, warmup_ns=((2**63,),))),
    }
    for reason, each in bad.items():
        with pytest.raises(StoreError, match=reason):
            store.add_repetition(benchmark, each)
    with pytest.raises(StoreError, match="UNIQUE"):
        store.finish(benchmark)
    with pytest.raises(StoreError, match="no measurement 99"):
        store.measurement(99)
    assert len(store.repetitions(benchmark)) == 1


def test_a_damaged_row_is_a_store_error_and_the_others_are_read(store: Store) -> None:
    damaged, whole, renamed = measured(store, (1,)), measured(store, (2,)), measured(store, (3,))
    with raw(store.path.parent) as database:
        database.execute("UPDATE repetitions SET data = substr(data, 1, 50) WHERE benchmark = ?", (damaged,))
        database.execute("UPDATE benchmarks SET subject = '{\"what\": 1}' WHERE id = ?", (renamed,))
    for benchmark in (damaged, renamed):
        with pytest.raises(StoreError, match="damaged"):
            store.measurement(benchmark)
    assert len(store.measurement(whole).repetitions) == 1


def missing(stored: Any) -> Any:
    return {}[stored]


@pytest.mark.parametrize(
    ("unpack", "stored"),
    [(missing, "samples"), (len, 5), (unpack_time, "2026-11-22T18:30:00"), (unpack_time, "today"), (unpack_time, 5)],
)
def test_what_cannot_be_unpacked_is_damaged(unpack: Callable[[Any], Any], stored: object) -> None:
    with pytest.raises(StoreError, match="a stored thing is damaged"):
        Packed("thing", str, unpack).result_processor(DefaultDialect(), None)(stored)
