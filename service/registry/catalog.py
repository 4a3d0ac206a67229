"""Which bundle is which version of which model, and what aliases mean: rows, so every server knows the same.

What a name alone means is its alias `current`. Nothing is remembered here: each question is one to the database.
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
    """One version of a model, as it was registered; `bundle` is the bundle's id."""

    name: str
    version: int
    bundle: str
    registered_at: float


@dataclass(frozen=True)
class AliasChange:
    """One line of the history of an alias; `version` is None where it means nothing any more."""

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
        """The version that this bundle has under this name, for ever; a new one if it has none yet.

        It is the current one afterwards; except where it was `found` in a folder, `automatic`, and was found there last
        time as well: a folder that has not changed says nothing new.
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
        """The id of the bundle registered so, or None."""
        with self._database.read() as c:
            where = (models.c.name == name, models.c.version == version)
            return c.scalar(select(models.c.bundle).where(*where))

    def versions(self, name: str) -> list[ModelVersionRow]:
        """Every version of a model, oldest first. Raises ModelNotFound."""
        question = select(models).where(models.c.name == name).order_by(models.c.version)
        with self._database.read() as c:
            found = [ModelVersionRow(**row._mapping) for row in c.execute(question)]
        if not found:
            raise ModelNotFound(f"there is no model {quote(name)}", field="name", got=quote(name))
        return found

    def find(self, name: str, alias: str = CURRENT) -> int | None:
        """The version that an alias means now, or None."""
        with self._database.read() as c:
            row = _in_force(c, name, alias)
        return None if row is None else row.version

    def alias_targets(self, name: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """By name of a model and alias: the version that it means. Of one model, or of all."""
        last = select(func.max(aliases.c.position)).group_by(aliases.c.name, aliases.c.alias)
        last = last if name is None else last.where(aliases.c.name == name)
        columns = (aliases.c.name, aliases.c.alias, aliases.c.version)
        question = select(*columns).where(aliases.c.position.in_(last), aliases.c.version.is_not(None))
        found: dict[str, dict[str, int]] = {}
        with self._database.read() as c:
            for row in c.execute(question.order_by(aliases.c.name, aliases.c.alias)):
                found.setdefault(row.name, {})[row.alias] = row.version
        return found

    def history(self, name: str, limit: int, before: int | None = None) -> tuple[Sequence[AliasChange], int | None]:
        """At most `limit` moves of the aliases of a model, newest first, and the position to go on from."""
        where = [aliases.c.name == name] + ([] if before is None else [aliases.c.position < before])
        question = select(aliases).where(*where).order_by(aliases.c.position.desc()).limit(limit + 1)
        with self._database.read() as c:
            moves = [AliasChange(**row._mapping) for row in c.execute(question)]
        return moves[:limit], moves[limit - 1].position if len(moves) > limit else None

    def set(self, name: str, alias: str, version: int) -> AliasChange:
        """Let an alias mean this version from now on. Raises InvalidData: there is no such version."""
        with self._database.write() as c:
            lock_tenant(c, f"model {name}")
            known = list(c.scalars(select(models.c.version).where(models.c.name == name).order_by(models.c.version)))
            if version not in known:
                raise InvalidData("version", f"one of {', '.join(map(str, known[-20:]))}", str(version))
            return self._set(c, name, alias, version, "set")

    def delete(self, name: str, alias: str) -> None:
        """Let an alias mean nothing. Raises AliasNotFound."""
        with self._database.write() as c:
            lock_tenant(c, f"model {name}")
            row = _in_force(c, name, alias)
            if row is None or row.version is None:
                raise _unknown(name, alias)
            self._add(c, name, alias, None, "delete", row.position)

    def rollback(self, name: str, alias: str, idempotency_key: IdempotencyKey | None = None) -> AliasChange:
        """Let an alias mean what it meant before; once more, and it is what it meant before that.

        Raises:
            AliasNotFound: there never was one.
            NothingBefore: it has meant nothing else.
        """
        with self._database.write() as c:
            if done := begin(c, idempotency_key, self._now()):
                return AliasChange(
                    **c.execute(select(aliases).where(aliases.c.position == done["move"])).one()._mapping
                )
            lock_tenant(c, f"model {name}")
            row = _in_force(c, name, alias)
            if row is None:
                raise _unknown(name, alias)
            if row.before is None:
                raise NothingBefore(f"{name}@{alias} has meant nothing but version {row.version}", field="alias")
            target = c.execute(select(aliases).where(aliases.c.position == row.before)).one()
            move = self._add(c, name, alias, target.version, "rollback", target.before)
            complete(c, idempotency_key, {"move": move.position})
            return move

    def _set(self, c: Connection, name: str, alias: str, version: int, action: Action) -> AliasChange:
        row = _in_force(c, name, alias)
        if row is None:
            return self._add(c, name, alias, version, action, None)
        if row.version != version:
            return self._add(c, name, alias, version, action, row.position)
        # The same again is no move to go back from; only that a folder has it now is news.
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


def _in_force(c: Connection, name: str, alias: str) -> Row[Any] | None:
    where = (aliases.c.name == name, aliases.c.alias == alias)
    return c.execute(select(aliases).where(*where).order_by(aliases.c.position.desc()).limit(1)).first()


def _found(c: Connection, name: str) -> int | None:
    """The version that was found in a folder last."""
    where = (aliases.c.name == name, aliases.c.alias == CURRENT, aliases.c.action == "found")
    return c.scalar(select(aliases.c.version).where(*where).order_by(aliases.c.position.desc()).limit(1))


def _unknown(name: str, alias: str) -> AliasNotFound:
    return AliasNotFound(f"{name} has no alias {quote(alias)}", field="alias", got=quote(alias))
