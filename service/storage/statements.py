"""Statements that differ between SQLite and PostgreSQL. Functions of an open connection."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from service.storage.tables import tenants


def insert_new(c: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose key does not exist yet, and return their number. Waits for concurrent inserts of them."""
    dialect = sqlite if c.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).on_conflict_do_nothing()
    counted = {"preserve_rowcount": True}  # otherwise rowcount is -1 for an INSERT
    return sum(c.execute(statement, dict(row), execution_options=counted).rowcount for row in rows)


def lock_tenant(c: Connection, tenant: str) -> Row[Any]:
    """Lock a tenant until the transaction ends, and return its name, n_adaptations and n_bytes."""
    insert_new(c, tenants, [{"name": tenant, "n_adaptations": 0, "n_bytes": 0}])
    return c.execute(select(tenants).where(tenants.c.name == tenant).with_for_update()).one()
