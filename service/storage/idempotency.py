"""What a POST with an Idempotency-Key made, so that the same POST again makes nothing.

Functions of an open connection, to be called in the transaction that makes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from service.errors import IdempotencyKeyReused, quote
from service.storage.statements import insert_new
from service.storage.tables import requests

Made = Mapping[str, Any]


@dataclass(frozen=True)
class IdempotencyKey:
    """A POST that its client may repeat: its Idempotency-Key, and a digest of everything else in it.

    Keys are a tenant's own: two tenants may use the same one.
    """

    tenant: str
    key: str
    fingerprint: str


def lookup(c: Connection, idempotency_key: IdempotencyKey | None) -> Made | None:
    """What the same POST made before, or None. Raises IdempotencyKeyReused."""
    if idempotency_key is None:
        return None
    where = (requests.c.tenant == idempotency_key.tenant, requests.c.key == idempotency_key.key)
    row = c.execute(select(requests.c.fingerprint, requests.c.made).where(*where)).first()
    if row is None:
        return None
    if row.fingerprint != idempotency_key.fingerprint:
        raise IdempotencyKeyReused(
            "this Idempotency-Key came with another request before",
            field="Idempotency-Key",
            got=quote(idempotency_key.key),
        )
    return row.made


def begin(c: Connection, idempotency_key: IdempotencyKey | None, now: float) -> Made | None:
    """Take the key of a POST for this transaction, or say what the same POST made before.

    Another request with the same key waits here for the end of this transaction. `complete` has to follow.

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
    c: Connection, idempotency_key: IdempotencyKey | None, made: Made, adaptation_id: str | None = None
) -> None:
    """Note what a POST made, in the transaction that made it; that note goes with the adaptation, if there is one."""
    if idempotency_key is not None:
        where = (requests.c.tenant == idempotency_key.tenant, requests.c.key == idempotency_key.key)
        c.execute(update(requests).where(*where).values(made=dict(made), adaptation=adaptation_id))
