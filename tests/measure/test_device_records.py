from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.measure.rows import Equivalence
from harness.measure.samples import Subject
from harness.measure.store import Store
from tests.measure.test_store_given import LONG_AGO, PROVENANCE, SUBJECT, measured

OTHER = replace(SUBJECT, fingerprint="fp2")


def untold(store: Store, subject: Subject = SUBJECT, *, since: datetime = LONG_AGO, **changes: float) -> int | None:
    asked = {"interval": PROVENANCE.asked_interval, "max_time_s": PROVENANCE.max_time_s} | changes
    return store.unreported(
        subject, interval=asked["interval"], max_time_s=asked["max_time_s"], fresh=bool(asked.get("fresh")), since=since
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def test_the_newest_test_of_two_devices_counts_whichever_is_named_first(store: Store) -> None:
    assert store.equivalence(SUBJECT, OTHER) is None
    unlike, alike = (Equivalence(datetime.now(UTC), 0.03, farthest, equal=farthest < 0.03) for farthest in (0.05, 0.01))
    store.end_equivalence_test(SUBJECT, OTHER, unlike)
    assert store.equivalence(OTHER, SUBJECT) == unlike
    store.end_equivalence_test(OTHER, SUBJECT, alike)
    assert store.equivalence(SUBJECT, OTHER) == alike
    assert store.equivalence(SUBJECT, replace(OTHER, model_sha256="99" * 32)) == alike


def test_devices_are_equal_under_one_runtime_and_its_settings(store: Store) -> None:
    store.end_equivalence_test(SUBJECT, OTHER, Equivalence(datetime.now(UTC), 0.03, 0.01, equal=True))
    assert store.equivalence(SUBJECT, SUBJECT) is None
    assert store.equivalence(*(replace(one, threads=2) for one in (SUBJECT, OTHER))) is None
    assert store.equivalence(SUBJECT, replace(OTHER, runtime_version="2.4.0")) is None


def test_what_nobody_was_told_of_is_found_until_it_is_reported(store: Store) -> None:
    first, newest = measured(store, (1,)), measured(store, (2,))
    assert untold(store) == newest
    store.report([newest])
    assert untold(store) == first
    store.report([first, newest])
    assert untold(store) is None


def test_only_the_same_question_is_answered_by_what_nobody_was_told_of(store: Store) -> None:
    measured(store, (1,))
    assert untold(store, interval=0.5) is None
    assert untold(store, max_time_s=1.0) is None
    assert untold(store, since=datetime.now(UTC)) is None
    assert untold(store, OTHER) is None
    assert untold(store, fresh=True) is None
    assert untold(store) is not None
