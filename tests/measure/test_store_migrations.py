from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from harness.errors import StoreError
from harness.measure import migrations
from harness.measure.migrations import opening
from harness.measure.schema import HEAD, Base
from harness.measure.store import Store
from tests.measure.test_store_given import LONG_AGO, PROVENANCE, SESSION, SUBJECT, measured, raw

AFTER = f"{int(HEAD) + 1:04}"
NEXT = f"""
from alembic import op
import sqlalchemy as sa

revision = "{AFTER}"
down_revision = "{HEAD}"


def upgrade():
    op.add_column("aa_tests", sa.Column("pairs", sa.Integer))
    op.execute("INSERT INTO aa_tests VALUES (1, '2026-01-01', 'settings', 'subject', 0.5, 3, 7)")
"""


def tables(folder: Path) -> list[tuple[str, str]]:
    with raw(folder) as database:
        return database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


@pytest.fixture
def next_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Migrations of a harness that knows one more than this one; `versions/next.py` is that one."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrations.FOLDER, folder)
    (folder / "versions" / "next.py").write_text(NEXT)
    monkeypatch.setattr(migrations, "FOLDER", folder)
    for module in (migrations, opening):
        monkeypatch.setattr(module, "HEAD", AFTER)
    return folder


def test_the_migrations_lead_to_the_schema_that_the_code_sees(tmp_path: Path) -> None:
    assert ScriptDirectory(migrations.FOLDER).get_heads() == [HEAD]
    with Store.open(tmp_path) as store, store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": False}), Base.metadata) == []


def test_a_newer_schema_is_a_store_error(tmp_path: Path) -> None:
    with Store.open(tmp_path):
        pass
    with raw(tmp_path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"has schema 9999, this harness knows .*\nUpdate the harness"):
            Store.open(tmp_path, read_only=read_only)


def test_an_older_schema_is_migrated_with_what_it_holds(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with Store.open(tmp_path) as store:
        measured(store, (1, 2))
        held = list(store.finished(SUBJECT))
    request.getfixturevalue("next_folder")
    with pytest.raises(StoreError, match="older harness"):
        Store.open(tmp_path, read_only=True)
    with Store.open(tmp_path) as store:
        assert list(store.finished(SUBJECT)) == held
    with raw(tmp_path) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(AFTER,)]
        assert database.execute("SELECT pairs FROM aa_tests").fetchall() == [(7,)]


def test_a_new_store_goes_through_all_migrations(tmp_path: Path, next_folder: Path) -> None:
    assert next_folder.exists()
    with Store.open(tmp_path):
        pass
    with raw(tmp_path) as database:
        assert database.execute("SELECT pairs FROM aa_tests").fetchall() == [(7,)]


def test_a_migration_that_does_not_end_leaves_the_store_as_it_was(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with Store.open(tmp_path) as store:
        measured(store, (1,))
    before = tables(tmp_path)
    folder: Path = request.getfixturevalue("next_folder")
    (folder / "versions" / "next.py").write_text(NEXT + '    op.execute("INSERT INTO missing VALUES (1)")\n')
    with pytest.raises(StoreError, match="no such table: missing"):
        Store.open(tmp_path)
    assert tables(tmp_path) == before
    with raw(tmp_path) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


def test_a_store_of_the_first_schema_keeps_all_but_its_spreads(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (migrations, opening):
            patch.setattr(module, "HEAD", "0001")
        with Store.open(tmp_path) as store:
            finished = measured(store, (1, 2))
            begun = store.start_benchmark(store.start_session(SESSION), SUBJECT, PROVENANCE)
            held = store.measurement(finished)
    with raw(tmp_path) as database:
        database.execute("INSERT INTO spreads VALUES (1, 'fp', 'ai-edge-litert', '2.3.0', 0.5, 3, 'net', '2026-01-01')")
    with Store.open(tmp_path) as store:
        assert store.measurement(finished) == held
        assert store.unfinished(SUBJECT, since=LONG_AGO) == begun
        assert store.spread(SUBJECT) is None
        store.end_aa_test(SUBJECT, 0.01, 40)
        assert store.spread(SUBJECT) == 0.01
        assert store.comparisons("compare") == ()
        assert store.unmeasured() == ()


def test_what_was_finished_before_reports_were_kept_counts_as_told(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (migrations, opening):
            patch.setattr(module, "HEAD", "0002")
        with Store.open(tmp_path) as store:
            measured(store, (1, 2))
    with Store.open(tmp_path) as store:
        asked = {"interval": PROVENANCE.asked_interval, "max_time_s": PROVENANCE.max_time_s}
        assert store.unreported(SUBJECT, fresh=False, since=LONG_AGO, **asked) is None
