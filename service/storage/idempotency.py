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
class Post:
    """A POST that its client may repeat: its Idempotency-Key, and a digest of everything else in it.

    Keys are a tenant's own: two tenants may use the same one.
    """

    tenant: str
    key: str
    fingerprint: str


def made_by(c: Connection, post: Post | None) -> Made | None:
    """What the same POST made before, or None. Raises IdempotencyKeyReused."""
    if post is None:
        return None
    where = (requests.c.tenant == post.tenant, requests.c.key == post.key)
    row = c.execute(select(requests.c.fingerprint, requests.c.made).where(*where)).first()
    if row is None:
        return None
    if row.fingerprint != post.fingerprint:
        raise IdempotencyKeyReused(
            "this Idempotency-Key came with another request before", field="Idempotency-Key", got=quote(post.key)
        )
    return row.made


def claim(c: Connection, post: Post | None, now: float) -> Made | None:
    """Take the key of a POST for this transaction, or say what the same POST made before.

    Whoever comes with the same key at the same time waits here for the end of this transaction. `settle` has to follow.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    if post is None:
        return None
    row = {"tenant": post.tenant, "key": post.key, "fingerprint": post.fingerprint, "created_at": now, "made": {}}
    return None if insert_new(c, requests, [row]) else made_by(c, post)


def settle(c: Connection, post: Post | None, made: Made, adaptation_id: str | None = None) -> None:
    """Note what a POST made, in the transaction that made it; that note goes with the adaptation, if there is one."""
    if post is not None:
        where = (requests.c.tenant == post.tenant, requests.c.key == post.key)
        c.execute(update(requests).where(*where).values(made=dict(made), adaptation=adaptation_id))
