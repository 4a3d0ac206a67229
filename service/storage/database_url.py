"""The URLs of the databases that are supported: files of SQLite, and PostgreSQL. Opens nothing."""

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from metalearn.data.errors import InvalidConfig

SUPPORTED = "sqlite:///FILE or postgresql://USER@HOST/NAME"
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def parse_url(url: str) -> URL:
    """Return the URL with the driver that is used here. The folder of a SQLite file is made if it is absent.

    Raises:
        InvalidConfig: it is no URL, or one of another database or driver, or names no file. The message has no part of
            the URL that could be a password.
    """
    parsed = _parse(url)
    if parsed.drivername == "sqlite":
        _make_folder(parsed)
    return parsed


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidConfig(f"the database URL cannot be read: expected {SUPPORTED}") from error
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise InvalidConfig(f"the database URL: expected {SUPPORTED}, got {parsed.drivername[:40]!r} before the colon")
    if driver == "sqlite":
        _check_file(parsed)
    return parsed.set(drivername=driver)


def missing_file(url: str) -> Path | None:
    """The file of a SQLite database that is not there yet; None for every other database. Makes nothing."""
    parsed = _parse(url)
    if parsed.drivername != "sqlite":
        return None
    file = Path(str(parsed.database))
    try:
        file.stat()
    except FileNotFoundError:
        return file
    except ValueError:  # a NUL in the path: who opens it says so
        return None
    return None


def _check_file(url: URL) -> None:
    if url.host:
        raise InvalidConfig("the database URL: a SQLite file has three slashes before its path, sqlite:///FILE")
    if not url.database or url.database == ":memory:":
        raise InvalidConfig("a SQLite database in memory is lost with the process: name a file, sqlite:///FILE")


def _make_folder(url: URL) -> None:
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise InvalidConfig(f"the database URL: {error} in the path of the file") from error
