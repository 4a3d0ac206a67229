"""Who changed what, when, and how that ended. Ids and the beginnings of keys; never bodies, queries or secrets."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from service.storage.database import Database
from service.storage.tables import audit


@dataclass(frozen=True)
class Entry:
    """One line. `action` names a route, `subject` what it was done to, `outcome` is the status of the answer."""

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
        """Write a line; it survives the process, and on SQLite perhaps not a power cut."""
        with self._database.write_relaxed() as c:
            c.execute(insert(audit).values(vars(entry)))

    def read(self, tenant: str | None = None, since: float = 0.0, limit: int = 100) -> Sequence[Entry]:
        """The newest lines, newest first."""
        question = select(audit).where(audit.c.at >= since).order_by(audit.c.position.desc()).limit(limit)
        with self._database.read() as c:
            rows = c.execute(question if tenant is None else question.where(audit.c.tenant == tenant)).all()
        return [Entry(**{name: row._mapping[name] for name in Entry.__dataclass_fields__}) for row in rows]

    def forget(self, before: float) -> None:
        """Delete the lines of long ago."""
        with self._database.write() as c:
            c.execute(delete(audit).where(audit.c.at < before))
