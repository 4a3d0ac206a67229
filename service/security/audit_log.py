"""The audit log: every change with its caller, time and outcome. Never holds bodies, queries or secrets."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from service.storage.database import Database
from service.storage.tables import audit


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        at: seconds since 1970.
        key: the prefix of the API key.
        action: the method and the route template.
        subject: the path.
        outcome: the status of the response.
        request: the request id.
    """

    at: float
    tenant: str | None
    key: str | None
    action: str
    subject: str
    outcome: str
    request: str | None = None


class AuditLog:
    """The audit log of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: Entry) -> None:
        """Write an entry. It survives a crash of the process, but on SQLite perhaps not a power failure."""
        with self._database.write_relaxed() as c:
            c.execute(insert(audit).values(vars(entry)))

    def read(self, tenant: str | None = None, since: float = 0.0, limit: int = 100) -> Sequence[Entry]:
        """Return the newest entries, newest first."""
        query = select(audit).where(audit.c.at >= since).order_by(audit.c.position.desc()).limit(limit)
        with self._database.read() as c:
            rows = c.execute(query if tenant is None else query.where(audit.c.tenant == tenant)).all()
        return [Entry(**{name: row._mapping[name] for name in Entry.__dataclass_fields__}) for row in rows]

    def page(self, tenant: str, limit: int, before: int | None) -> tuple[list[Entry], int | None]:
        """Return at most `limit` entries of a tenant, newest first, and the position of the next page, or None."""
        query = select(audit).where(audit.c.tenant == tenant).order_by(audit.c.position.desc()).limit(limit + 1)
        with self._database.read() as c:
            rows = c.execute(query if before is None else query.where(audit.c.position < before)).all()
        found = [Entry(**{name: row._mapping[name] for name in Entry.__dataclass_fields__}) for row in rows[:limit]]
        return found, rows[limit - 1].position if len(rows) > limit else None

    def forget(self, before: float) -> None:
        """Delete the entries before a time."""
        with self._database.write() as c:
            c.execute(delete(audit).where(audit.c.at < before))
