"""Brings a database file to the schema that this version of the harness knows.

Each change of the schema is a module in `versions/`, in alembic's form; the newest is `schema.HEAD`. They are run from
here, inside the caller's transaction, so that a process that is killed meanwhile leaves the file as it was.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from harness.errors import StoreError
from harness.measure.schema import HEAD

FOLDER = Path(__file__).parent


def version(connection: Connection) -> str | None:
    """Return the schema version of the database, None for an empty one; raises StoreError for a database of something else."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise StoreError(
            f"{_file(connection)} is a database of something else",
            "Move it away, or give --results another folder.",
        )
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(connection: Connection) -> None:
    """Bring the database to `HEAD`; raises StoreError where it is newer than that. The caller commits."""
    current = version(connection)
    if current == HEAD:
        return
    # Alembic takes a while to import and is needed only when a database is made or changed.
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(FOLDER)
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise newer(connection, current)
    context = MigrationContext.configure(connection)
    steps = list(scripts.iterate_revisions(HEAD, current or "base"))
    with Operations.context(context):
        for step in reversed(steps):
            step.module.upgrade()
            context.stamp(scripts, step.revision)


def newer(connection: Connection, found: str) -> StoreError:
    """Return the error for a database that a newer harness wrote."""
    return StoreError(
        f"{_file(connection)} has schema {found}, this harness knows {HEAD} and older ones",
        "Update the harness, or give --results another folder.",
    )


def _file(connection: Connection) -> str:
    return str(connection.engine.url.database)
