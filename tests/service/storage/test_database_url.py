"""A database that cannot be used is one sentence on the command line, never a traceback."""

from pathlib import Path

import pytest

from service.storage.database_url import parse_url
from wtl.cli import main

UNSUPPORTED = (
    "mysql://x", "mysql+pymysql://root:hunter2@h/db", "mssql+pyodbc://u:hunter2@h/db", "postgres://u:hunter2@h/db",
    "postgresql+asyncpg://u:hunter2@h/db", "sqlite+aiosqlite:///x.sqlite3", "duckdb:///x", "http://h/x",
)  # fmt: skip
MALFORMED = ("nonsense", "://", "/a/path.sqlite3", "postgresql://u:hunter2@h:port/db", "postgresql://u:hunter2@[::1/x")


@pytest.mark.parametrize("url", [*UNSUPPORTED, *MALFORMED])
@pytest.mark.parametrize("command", [["migrate"], ["keys", "list"], ["audit"]], ids=" ".join)
def test_an_unsupported_url_is_answered_with_the_supported_ones(
    url: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--database", url]) == 2
    said = capsys.readouterr().err
    assert "expected sqlite:///FILE or postgresql://USER@HOST/NAME" in said
    assert said.count("\n") == 1
    assert "hunter2" not in said
    assert url in UNSUPPORTED or "cannot be read" in said


@pytest.mark.parametrize("command", [["migrate"], ["keys", "list"]], ids=" ".join)
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite://file.sqlite3", "three slashes"),
        ("sqlite:///{folder}", "unable to open"),
        ("sqlite:///{folder}/text", "not a database"),
        ("sqlite:///{folder}/text/below.sqlite3", "File exists|Not a directory"),
        ("postgresql://127.0.0.1:1/x", "connection to server"),
        ("postgresql://127.0.0.1:1/x?unknown=1", "invalid connection option"),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_sentence(
    url: str, said: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be read as the head of one" * 9)
    assert main([*command, "--database", url.format(folder=tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert any(one in printed for one in said.split("|"))
    assert printed.count("\n") == 1


def test_a_supported_url_gets_the_driver_that_is_used(tmp_path: Path) -> None:
    assert parse_url("postgresql://u:p@h/db").render_as_string(False) == "postgresql+psycopg://u:p@h/db"
    file = tmp_path / "new" / "x.sqlite3"
    assert parse_url(f"sqlite+pysqlite:///{file}").drivername == "sqlite"
    assert file.parent.is_dir()
