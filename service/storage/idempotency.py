"""Idempotency keys: a repeated POST creates nothing and gets the result of the first one.

Functions of an open connection, called in the transaction that creates the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from service.errors import IdempotencyKeyReused, quote
from service.storage.statements import insert_new
from service.storage.tables import requests

Created = Mapping[str, Any]
"""The ids of what a POST created."""


@dataclass(frozen=True)
class IdempotencyKey:
    """The identity of a POST that its client may repeat: its Idempotency-Key, and a digest of the rest of the request.

    Keys belong to a tenant: two tenants may use the same one.
    """

    tenant: str
    key: str
    fingerprint: str


def lookup(c: Connection, idempotency_key: IdempotencyKey | None) -> Created | None:
    """Return the ids that the same POST created before, or None. Raises IdempotencyKeyReused."""
    if idempotency_key is None:
        return None
    where = (requests.c.tenant == idempotency_key.tenant, requests.c.key == idempotency_key.key)
    row = c.execute(select(requests.c.fingerprint, requests.c.made).where(*where)).first()
    if row is None:
        return None
    if row.fingerprint != idempotency_key.fingerprint:
        raise IdempotencyKeyReused(
            "this Idempotency-Key belongs to an earlier, different request",
            field="Idempotency-Key",
            got=quote(idempotency_key.key),
        )
    return row.made


def begin(c: Connection, idempotency_key: IdempotencyKey | None, now: float) -> Created | None:
    """Take the key of a POST for this transaction, or return the ids that the same POST created before.

    Another request with the same key waits here until this transaction ends. `complete` must follow.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    if idempotency_key is None:
        return None
    row = {
        "tenant": idempotency_key.tenant,
        "key": idempotency_key.key,
        "fingerprint": idempotency_key.fingerprint,
        "created_at": now,
        "made": {},
    }
    return None if insert_new(c, requests, [row]) else lookup(c, idempotency_key)


def complete(
    c: Connection, idempotency_key: IdempotencyKey | None, created: Created, adaptation_id: str | None = None
) -> None:
    """Store the ids that a POST created; they are deleted together with the adaptation, if there is one."""
    if idempotency_key is not None:
        where = (requests.c.tenant == idempotency_key.tenant, requests.c.key == idempotency_key.key)
        c.execute(update(requests).where(*where).values(made=dict(created), adaptation=adaptation_id))
