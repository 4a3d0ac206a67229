"""`wtl migrate`, `wtl keys` and `wtl audit`: an operator's work on the database of a service."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli.options import finite
from wtl.cli.tables import print_table

if TYPE_CHECKING:
    from service.storage.database import Database

_DAY_S = 86400.0
_MOST_DAYS = 36500
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="URL of the database. [default: WTL_DATABASE, or SQLite in --data]"),
]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Data folder of the service, which holds its SQLite database.")
]
keys = typer.Typer(name="keys", help="Create, list and revoke API keys.", no_args_is_help=True)


def migrate(database: DatabaseUrl = None, data: DataFolder = None) -> None:
    """Migrate the service's database to the newest schema. For SQLite `wtl serve` does this itself.

    \b
    Examples:
      wtl migrate --database postgresql+psycopg://wtl@db/wtl
    """
    from service.storage import migrations

    before, after = migrations.upgrade(_url(database, data))
    typer.echo(f"the database is at revision {after}" + ("" if before == after else f" (before: {before or 'empty'})"))


@keys.command()
def create(
    tenant: Annotated[str, typer.Option(help="Tenant whose adaptations the key gives access to.")] = "default",
    scopes: Annotated[
        str, typer.Option(metavar="A,B", help="Scopes: adapt, models:read, models:write, jobs, metrics, admin.")
    ] = ("adapt,models:read"),
    days: Annotated[
        float | None,
        typer.Option(
            min=0, max=_MOST_DAYS, callback=finite, help="Number of days until the key expires. [default: never]"
        ),
    ] = None,
    label: Annotated[str, typer.Option(help="Note for people, shown by `wtl keys list`.")] = "",
    database: DatabaseUrl = None,
    data: DataFolder = None,
) -> None:
    """Create an API key and print it. It cannot be shown again.

    \b
    Examples:
      wtl keys create --tenant robots --label "lab 3" --days 90
      wtl keys create --scopes models:read,models:write,jobs
    """
    from service.security.api_keys import ApiKeys

    now = time.time()
    with _opened(database, data) as opened:
        wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
        secret, key = ApiKeys(opened).create(tenant, wanted, now, label, None if days is None else now + days * _DAY_S)
        _note(opened, key.tenant, "keys create", key.prefix)
    typer.echo(secret)


@keys.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="List only the keys of this tenant.")] = None,
    database: DatabaseUrl = None,
    data: DataFolder = None,
) -> None:
    """List the keys by their first characters; the rest of a key is stored nowhere."""
    from service.security.api_keys import ApiKeys

    rows = []
    with _existing(database, data) as opened:
        for key in ApiKeys(opened).all(tenant):
            state = "revoked" if key.revoked_at else "usable" if key.usable(time.time()) else "expired"
            ends = _day(key.expires_at) if key.expires_at else "never"
            scopes = ",".join(sorted(key.scopes))
            rows.append((f"{key.prefix}...", key.tenant, scopes, _day(key.created_at), ends, state, key.label))
    if not rows:
        typer.echo("no keys")
        return
    columns = ("key", "tenant", "scopes", "created", "expires", "state", "label")
    print_table(columns, rows, whole=("key", "tenant", "scopes"))


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="First characters of the key, as `wtl keys list` shows them.")],
    database: DatabaseUrl = None,
    data: DataFolder = None,
) -> None:
    """Revoke a key. Running servers refuse it within seconds (WTL_KEY_CACHE_S)."""
    from service.security.api_keys import ApiKeys

    with _existing(database, data) as opened:
        revoked = ApiKeys(opened).revoke(key.removesuffix("...")[:12], time.time())
        _note(opened, revoked.tenant, "keys revoke", revoked.prefix)
    typer.echo(f"revoked {revoked.prefix}...")


def audit(
    tenant: Annotated[str | None, typer.Option(help="Show only the entries of this tenant.")] = None,
    days: Annotated[
        float, typer.Option(min=0, max=_MOST_DAYS, callback=finite, help="Number of days to look back.")
    ] = 7.0,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of entries; the newest are shown.")] = 100,
    database: DatabaseUrl = None,
    data: DataFolder = None,
) -> None:
    """Print the audit log as lines of JSON, the newest entry first: who changed what, and with which outcome."""
    from dataclasses import asdict
    from json import dumps

    from service.security.audit_log import AuditLog

    with _existing(database, data) as opened:
        for entry in AuditLog(opened).read(tenant, time.time() - days * _DAY_S, limit):
            at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
            typer.echo(dumps(asdict(entry) | {"at": at}))


def _url(database: str | None, data: Path | None) -> str:
    from pydantic import ValidationError

    from metalearn.config import faults
    from service.settings import Settings

    given = {"database": database, "data": data}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None}).database_url  # type: ignore[arg-type]
    except ValidationError as error:
        raise InvalidConfig(f"settings: {faults(error, values=False)}") from error


@contextmanager
def _opened(database: str | None, data: Path | None) -> Iterator["Database"]:
    from contextlib import closing

    from service.storage.database import Database

    with closing(Database(_url(database, data), connections=1)) as opened:
        yield opened


@contextmanager
def _existing(database: str | None, data: Path | None) -> Iterator["Database"]:
    """Open the database for what only makes sense in one that is there; make neither it nor its folder."""
    from service.storage.database_url import missing_file

    url = _url(database, data)
    if (missing := missing_file(url)) is not None:
        raise InvalidConfig(f"no database at {missing}: name the service's folder with --data, or its --database")
    with _opened(url, None) as opened:
        yield opened


def _note(database: "Database", tenant: str, action: str, prefix: str) -> None:
    from service.security.audit_log import AuditLog, Entry

    AuditLog(database).add(Entry(time.time(), tenant, None, f"wtl {action}", prefix, "done"))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
