"""Connections and transactions of one database, SQLite or PostgreSQL. Knows no tables.

An acknowledged write is durable. A writer locks the whole database on SQLite, and single rows on PostgreSQL. Both take
the same statements: SQLite does not need `FOR UPDATE` and ignores it.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from metalearn.data.errors import InvalidConfig
from service.errors import DatabaseUnavailable, StorageFull
from service.observability.stage_timings import note_storage
from service.storage import migrations
from service.storage.database_url import parse_url
from service.storage.reserve import Reserve

_log = structlog.get_logger("service")
_FULL_ON_POSTGRESQL = "53100"
T = TypeVar("T")


class Database:
    """Connections to one database, with tables of the newest revision.

    Raises:
        InvalidConfig: the database does not exist, or must be migrated first.
    """

    def __init__(self, url: str, connections: int = 16) -> None:
        parsed = parse_url(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite:
            migrations.upgrade(url)
            self._engine = _sqlite(parsed, "FULL", connections)
            self._light = _sqlite(parsed, "NORMAL", connections)
        else:
            self._engine = self._light = _postgresql(parsed, connections)
        for engine in {self._engine, self._light}:
            note_storage(engine)
        # Waiting for SQLite's lock is polling; with this one the threads of the process queue without it.
        self._write_lock: Any = threading.Lock() if self._sqlite else nullcontext()
        quiet = {"begin": None} if self._sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reader = self._engine.execution_options(**quiet)
        self._check_revision()
        self._reserve = None if self.file is None else Reserve(self.file.with_name(f"{self.file.name}.reserve"))

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database, or None."""
        return Path(str(self._engine.url.database)) if self._sqlite else None

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
        self._light.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection on which every statement is a transaction of its own.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with _as_service_errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction, which is on the disk after the block.

        Raises:
            DatabaseUnavailable: the database does not answer. If the connection broke during the commit, the
                transaction may have happened; one with an idempotency key can be repeated.
            StorageFull: the disk is full.
        """
        with _as_service_errors(), self._write_lock, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write_relaxed(self) -> Iterator[Connection]:
        """Open a transaction that survives a crash of the process, but on SQLite perhaps not a power failure.

        It does not wait for the disk, so it is suited to frequent writes. Raises as `write` does.
        """
        with _as_service_errors(), self._write_lock, self._light.begin() as connection:
            yield connection

    def freeing(self, work: Callable[[], T]) -> T:
        """Do work that frees room, on a full disk too: SQLite needs some to delete, and there is a reserve for that.

        Raises as `write` does.
        """
        try:
            return work()
        except StorageFull:
            if self._reserve is None:
                raise
            self._reserve.release()
            return work()
        finally:
            if self._reserve is not None:
                self._reserve.fill()

    def _check_revision(self) -> None:
        try:
            with self._reader.connect() as connection:
                migrations.check(connection)
        except DBAPIError as error:
            raise InvalidConfig(f"the database cannot be reached: {_sentence(error)}") from error


def _sqlite(url: URL, synchronous: str, connections: int) -> Engine:
    """Make an engine whose commits are on the disk when they return (FULL), or survive the process (NORMAL)."""
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
        # The driver's own transactions start as readers, and may fail when they begin to write.
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
    """Convert errors of the database to errors for clients."""
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


def _sentence(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())[:300]
