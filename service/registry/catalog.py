"""The versions and aliases of models in the database, the same for every server.

The name of a model alone stands for its alias `current`. Nothing is cached: every call is a query.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, insert, select

from metalearn.data.errors import InvalidData
from service.errors import AliasNotFound, ModelNotFound, NothingBefore, quote
from service.storage.database import Database
from service.storage.idempotency import IdempotencyKey, begin, complete
from service.storage.statements import lock_tenant
from service.storage.tables import aliases, models

CURRENT = "current"
Action = Literal["found", "registered", "set", "rollback", "delete"]


@dataclass(frozen=True)
class ModelVersionRow:
    """One registered version of a model; `bundle` is the id of its bundle. Times are seconds since 1970."""

    name: str
    version: int
    bundle: str
    registered_at: float


@dataclass(frozen=True)
class AliasChange:
    """One change in the history of an alias; `version` is None if the alias was deleted."""

    position: int
    name: str
    alias: str
    version: int | None
    action: Action
    before: int | None
    at: float


class ModelCatalog:
    """The models of one database."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database, self._now = database, now

    def register(self, name: str, bundle: str, *, found: bool = False, automatic: bool = False) -> int:
        """Return the version of a bundle under this name, a new one if it has none, and make it the current one.

        With `found` and `automatic`, a bundle that was also the last one found in the folder does not become current:
        the folder has not changed, so it must not undo a later change of the alias.
        """
        with self._database.write() as c:
            lock_tenant(c, f"model {name}")
            of_name = models.c.name == name
            version = c.scalar(select(models.c.version).where(of_name, models.c.bundle == bundle))
            if version is None:
                version = 1 + (c.scalar(select(func.max(models.c.version)).where(of_name)) or 0)
                row = {"name": name, "version": version, "bundle": bundle, "registered_at": self._now()}
                c.execute(insert(models).values(row))
            if not (found and automatic and _found(c, name) == version):
                self._set(c, name, CURRENT, int(version), "found" if found else "registered")
            return int(version)

    def bundle(self, name: str, version: int) -> str | None:
        """Return the id of the bundle of a version, or None."""
        with self._database.read() as c:
            where = (models.c.name == name, models.c.version == version)
            return c.scalar(select(models.c.bundle).where(*where))

    def versions(self, name: str) -> list[ModelVersionRow]:
        """Return every version of a model, oldest first. Raises ModelNotFound."""
        query = select(models).where(models.c.name == name).order_by(models.c.version)
        with self._database.read() as c:
            found = [ModelVersionRow(**row._mapping) for row in c.execute(query)]
        if not found:
            raise ModelNotFound(f"there is no model {quote(name)}", field="name", got=quote(name))
        return found

    def find(self, name: str, alias: str = CURRENT) -> int | None:
        """Return the version that an alias points at, or None."""
        with self._database.read() as c:
            row = _last_change(c, name, alias)
        return None if row is None else row.version

    def alias_targets(self, name: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """Return the versions that aliases point at, by model and alias, of one model or of all."""
        last = select(func.max(aliases.c.position)).group_by(aliases.c.name, aliases.c.alias)
        last = last if name is None else last.where(aliases.c.name == name)
        columns = (aliases.c.name, aliases.c.alias, aliases.c.version)
        query = select(*columns).where(aliases.c.position.in_(last), aliases.c.version.is_not(None))
        found: dict[str, dict[str, int]] = {}
        with self._database.read() as c:
            for row in c.execute(query.order_by(aliases.c.name, aliases.c.alias)):
                found.setdefault(row.name, {})[row.alias] = row.version
        return found

    def history(self, name: str, limit: int, before: int | None = None) -> tuple[Sequence[AliasChange], int | None]:
        """Return at most `limit` changes of the aliases, newest first, and the position of the next page, or None."""
        where = [aliases.c.name == name] + ([] if before is None else [aliases.c.position < before])
        query = select(aliases).where(*where).order_by(aliases.c.position.desc()).limit(limit + 1)
        with self._database.read() as c:
            changes = [AliasChange(**row._mapping) for row in c.execute(query)]
        return changes[:limit], changes[limit - 1].position if len(changes) > limit else None

    def set(self, name: str, alias: str, version: int) -> AliasChange:
        """Point an alias at a version. Raises InvalidData if there is no such version."""
        with self._database.write() as c:
            lock_tenant(c, f"model {name}")
            known = list(c.scalars(select(models.c.version).where(models.c.name == name).order_by(models.c.version)))
            if version not in known:
                raise InvalidData("version", f"one of {', '.join(map(str, known[-20:]))}", str(version))
            return self._set(c, name, alias, version, "set")

    def delete(self, name: str, alias: str) -> None:
        """Delete an alias, on a full disk too. Raises AliasNotFound."""
        self._database.freeing(lambda: self._delete(name, alias))

    def _delete(self, name: str, alias: str) -> None:
        with self._database.write() as c:
            lock_tenant(c, f"model {name}")
            row = _last_change(c, name, alias)
            if row is None or row.version is None:
                raise _unknown(name, alias)
            self._add(c, name, alias, None, "delete", row.position)

    def rollback(self, name: str, alias: str, idempotency_key: IdempotencyKey | None = None) -> AliasChange:
        """Point an alias at the version that it pointed at before. A second call goes one change further back.

        Raises:
            AliasNotFound: the alias never existed.
            NothingBefore: the alias has no earlier version.
        """
        with self._database.write() as c:
            if created := begin(c, idempotency_key, self._now()):
                return AliasChange(
                    **c.execute(select(aliases).where(aliases.c.position == created["move"])).one()._mapping
                )
            lock_tenant(c, f"model {name}")
            row = _last_change(c, name, alias)
            if row is None:
                raise _unknown(name, alias)
            if row.before is None:
                raise NothingBefore(f"{name}@{alias} has only ever pointed at version {row.version}", field="alias")
            target = c.execute(select(aliases).where(aliases.c.position == row.before)).one()
            change = self._add(c, name, alias, target.version, "rollback", target.before)
            complete(c, idempotency_key, {"move": change.position})
            return change

    def _set(self, c: Connection, name: str, alias: str, version: int, action: Action) -> AliasChange:
        row = _last_change(c, name, alias)
        if row is None:
            return self._add(c, name, alias, version, action, None)
        if row.version != version:
            return self._add(c, name, alias, version, action, row.position)
        # An unchanged target is no change to roll back; only its first discovery in a folder is recorded.
        if action == "found" and _found(c, name) != version:
            return self._add(c, name, alias, version, action, row.before)
        return AliasChange(**row._mapping)

    def _add(
        self, c: Connection, name: str, alias: str, version: int | None, action: Action, to: int | None
    ) -> AliasChange:
        row = {"name": name, "alias": alias, "version": version, "action": action, "before": to, "at": self._now()}
        key = c.execute(insert(aliases).values(row)).inserted_primary_key
        assert key is not None
        return AliasChange(position=int(key[0]), **row)  # type: ignore[arg-type]


def _last_change(c: Connection, name: str, alias: str) -> Row[Any] | None:
    where = (aliases.c.name == name, aliases.c.alias == alias)
    return c.execute(select(aliases).where(*where).order_by(aliases.c.position.desc()).limit(1)).first()


def _found(c: Connection, name: str) -> int | None:
    """Return the version that was found in a folder last, or None."""
    where = (aliases.c.name == name, aliases.c.alias == CURRENT, aliases.c.action == "found")
    return c.scalar(select(aliases.c.version).where(*where).order_by(aliases.c.position.desc()).limit(1))


def _unknown(name: str, alias: str) -> AliasNotFound:
    return AliasNotFound(f"{name} has no alias {quote(alias)}", field="alias", got=quote(alias))
