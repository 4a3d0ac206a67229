"""One database, SQLite or PostgreSQL, that does not lose what it acknowledged. Knows no tables.

On SQLite a writer has the whole database to itself from the start; on PostgreSQL the rows that it locks. The same
statements do for both: SQLite ignores `FOR UPDATE`, and does not need it.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from metalearn.data.errors import InvalidConfig
from service.errors import DatabaseUnavailable, StorageFull
from service.observability.stage_timings import note_storage
from service.storage import migrations

_log = structlog.get_logger("service")
_FULL_ON_POSTGRESQL = "53100"


class Database:
    """Connections to one database, whose tables are the newest.

    Raises:
        InvalidConfig: no such database, or it has to be migrated first.
    """

    def __init__(self, url: str, connections: int = 16) -> None:
        where = _checked(url)
        self._sqlite = where.get_backend_name() == "sqlite"
        if self._sqlite:
            migrations.upgrade(url)
            self._engine = _sqlite(where, "FULL", connections)
            self._light = _sqlite(where, "NORMAL", connections)
        else:
            self._engine = self._light = _postgresql(where, connections)
        for engine in {self._engine, self._light}:
            note_storage(engine)
        # SQLite's lock is polled; this one is a fair queue for the threads of this process.
        self._turn: Any = threading.Lock() if self._sqlite else nullcontext()
        quiet = {"begin": None} if self._sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reader = self._engine.execution_options(**quiet)
        self._check_revision()

    @property
    def file(self) -> Path | None:
        """Of a SQLite database."""
        return Path(str(self._engine.url.database)) if self._sqlite else None

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()
        self._light.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on which every statement is a transaction of its own.

        Raises:
            DatabaseUnavailable: see there.
        """
        with _as_service_errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction. When it is over without an exception, it is on the disk.

        Raises:
            DatabaseUnavailable, StorageFull: see there. It is not known whether a transaction whose commit was cut
                off has happened; one with an idempotency key can be repeated.
        """
        with _as_service_errors(), self._turn, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write_relaxed(self) -> Iterator[Connection]:
        """The same, except that on SQLite a power cut may take it back; the end of this process does not.

        Nothing is waited for but the operating system's memory: a hundred times a second would be too often for disks.
        """
        with _as_service_errors(), self._turn, self._light.begin() as connection:
            yield connection

    def _check_revision(self) -> None:
        try:
            with self._reader.connect() as connection:
                migrations.check(connection)
        except (OperationalError, InterfaceError) as error:
            raise InvalidConfig(f"the database cannot be reached: {_sentence(error)}") from error


def _checked(url: str) -> URL:
    try:
        where = make_url(url)
    except ArgumentError as error:
        raise InvalidConfig(
            "the database URL cannot be read: use sqlite:///FILE or postgresql+psycopg://..."
        ) from error
    if where.get_backend_name() == "postgresql" and where.drivername == "postgresql":
        where = where.set(drivername="postgresql+psycopg")
    if where.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise InvalidConfig(f"the database is {where.drivername}: use sqlite:///FILE or postgresql+psycopg://...")
    if where.get_backend_name() == "sqlite":
        if not where.database or where.database == ":memory:":
            raise InvalidConfig("a SQLite database in memory forgets: name a file, sqlite:///FILE")
        Path(where.database).parent.mkdir(parents=True, exist_ok=True)
    return where


def _sqlite(url: URL, synchronous: str, connections: int) -> Engine:
    """Connections whose commits are on the disk when they return (FULL), or survive this process (NORMAL)."""
    engine = create_engine(
        url,
        connect_args={"timeout": 30, "isolation_level": None},
        pool_size=connections,
        max_overflow=4 * connections,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: Any) -> None:
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # The driver's own transactions start lazily, as readers, and then fail when they turn to writing.
        statement = connection.get_execution_options().get("begin", "BEGIN IMMEDIATE")
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def _postgresql(url: URL, connections: int) -> Engine:
    try:
        return create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_size=connections,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "application_name": "wtl"},
        )
    except (ImportError, NoSuchModuleError) as error:
        raise InvalidConfig("PostgreSQL needs the package psycopg") from error


@contextmanager
def _as_service_errors() -> Iterator[None]:
    """What the database fails at, as what a client can be told."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("every connection to the database is in use") from error
    except (OperationalError, InterfaceError) as error:
        if _is_full(error):
            raise StorageFull from error
        _log.warning("the database failed", error=_sentence(error))
        raise DatabaseUnavailable("the database does not answer") from error


def _is_full(error: OperationalError | InterfaceError) -> bool:
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorcode", None)
    return code in {_FULL_ON_POSTGRESQL, sqlite3.SQLITE_FULL}


def _sentence(error: OperationalError | InterfaceError) -> str:
    return " ".join(str(error.orig).split())[:300]
