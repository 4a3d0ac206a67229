"""Migrations of the tables: `upgrade` a database to the newest revision, or `check` that it has it."""

import sqlite3
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from metalearn.data.errors import InvalidConfig
from service.storage.database_url import parse_url

_WAIT_S = 60
"""Seconds to wait for another server that starts on the same SQLite file."""
_LOCK = 0x77746C  # "wtl": the PostgreSQL advisory lock that serialises migrations


def configuration() -> Config:
    """Make Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(url: str) -> tuple[str | None, str]:
    """Migrate a database to the newest revision in one transaction, and return the revisions before and after.

    Raises:
        InvalidConfig: the URL is of no supported database, or the database was made by a newer server or cannot be
            used.
    """
    try:
        engine = create_engine(parse_url(url))
    except ImportError as error:
        raise InvalidConfig("PostgreSQL needs the package psycopg") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            return _upgrade(connection)
    except CommandError as error:
        raise InvalidConfig(f"the database was made by a newer server: {error}") from error
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())[:300]
        raise InvalidConfig(f"the database cannot be used: {said}") from error
    finally:
        engine.dispose()


def check(connection: Connection) -> None:
    """Raise InvalidConfig unless the database has the newest revision."""
    has, wanted = _revision(connection), _newest()
    if has != wanted:
        behind = has is None or any(revision.revision == has for revision in _scripts().walk_revisions())
        advice = "run `wtl migrate`" if behind else "it was made by a newer server"
        raise InvalidConfig(f"the database has revision {has or 'none'} and this server needs {wanted}: {advice}")


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    config = configuration()
    config.attributes["connection"] = connection
    before = _revision(connection)
    if before != _newest():
        command.upgrade(config, "head")
    return before, _newest()


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    # Foreign keys are off, because rebuilding a table would delete the rows that refer to it.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_WAIT_S * 1000}")
    _enable_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to a write-ahead log, with retries: SQLite ignores its busy_timeout for this pragma."""
    give_up_s = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration())


def _newest() -> str:
    newest = _scripts().get_current_head()
    assert newest is not None
    return newest
