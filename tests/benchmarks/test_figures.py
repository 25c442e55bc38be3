from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import coverage, figures

OPTIONS = figures.Options(restart=False, record=False)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], figures.State]:
    """Return a function that opens a command's state, in a folder of this test."""
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    return lambda: figures.State("given", OPTIONS)


def row(kind: str, minutes_ago: float, **fields: object) -> str:
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return json.dumps({"kind": kind, "at": at.isoformat(timespec="seconds"), "commit": "c", **fields}) + "\n"


def test_what_is_of_one_stretch_of_time_is_not_gone_on_with_after_a_pause(state: Callable[[], figures.State], tmp_path: Path) -> None:
    state().refuse_after_a_pause()
    lines = row("settings", 80, settings={}) + row("round", 75)
    (tmp_path / "given.jsonl").write_text(lines + row("round", 16))
    with pytest.raises(SystemExit, match="--restart"):
        state().refuse_after_a_pause()
    (tmp_path / "given.jsonl").write_text(lines + row("round", 14))
    state().refuse_after_a_pause()
    assert state().span("round") == "61 min"


def test_a_run_on_a_copy_leaves_the_store_as_it_was(state: Callable[[], figures.State]) -> None:
    kept = state()
    with closing(sqlite3.connect(kept.folder / "store.db")) as store:
        store.execute("create table sessions (id)")
    with kept.store_as_set_up() as folder:
        with closing(sqlite3.connect(folder / "store.db")) as store, store:
            store.execute("insert into sessions values (1)")
        assert folder != kept.folder
    assert not folder.exists()
    with closing(sqlite3.connect(kept.folder / "store.db")) as store:
        assert store.execute("select count(*) from sessions").fetchone() == (0,)


def test_a_result_without_an_interval_does_not_hold_the_truth(
    state: Callable[[], figures.State], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"latency_ms": 1.0, "interval_scope": "visits", "processes": 7, "verdict": "steady"}
    rows = [row("truth", 10, ns=1e6), row("truth", 9, ns=1.01e6)]
    rows += [row("result", 3 - index, interval_ms=interval, **result) for index, interval in enumerate(([0.99, 1.02], [0.98, 1.02], None))]
    (tmp_path / "given.jsonl").write_text(row("settings", 11, settings={}) + "".join(rows))
    coverage.report(OPTIONS, state())
    line = capsys.readouterr().out.splitlines()[-1]
    assert "2 of 3 intervals hold the truth (67%; 1 results without one), median half-width 2.0%, over 9 min" in line
