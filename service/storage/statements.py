"""Statements that SQLite and PostgreSQL spell differently. Functions of an open connection."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from service.storage.tables import tenants


def insert_new(c: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert those rows whose key is not there yet; how many. Waits for others who are inserting the same."""
    dialect = sqlite if c.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).on_conflict_do_nothing()
    counted = {"preserve_rowcount": True}  # else it is -1 for an INSERT
    return sum(c.execute(statement, dict(row), execution_options=counted).rowcount for row in rows)


def lock_tenant(c: Connection, tenant: str) -> Row[Any]:
    """What a tenant has: name, n_adaptations, n_bytes. Its other writers wait until this transaction is over."""
    insert_new(c, tenants, [{"name": tenant, "n_adaptations": 0, "n_bytes": 0}])
    return c.execute(select(tenants).where(tenants.c.name == tenant).with_for_update()).one()
