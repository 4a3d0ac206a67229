"""API keys in the database, as hashes, so that nobody who reads the database can use them.

A key has 256 random bits, so a plain SHA-256, which takes a microsecond, is as safe as a slow hash.
"""

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from metalearn.data.errors import InvalidConfig
from service.security.caller import SCOPES
from service.storage.database import Database
from service.storage.tables import keys

_START = "wtl_"
_N_SHOWN = len(_START) + 8
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Key:
    """A key without its secret. Times are seconds since 1970."""

    prefix: str
    tenant: str
    label: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def usable(self, now: float) -> bool:
        """Return True unless the key is revoked or expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ApiKeys:
    """The keys of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, tenant: str, scopes: Collection[str], now: float, label: str = "", expires_at: float | None = None
    ) -> tuple[str, Key]:
        """Create a key and return its secret, which is not stored, and the key. Raises InvalidConfig."""
        if not _TENANT.fullmatch(tenant):
            raise InvalidConfig(f"tenant: expected lower-case letters, digits and dashes, got {tenant!r}")
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InvalidConfig(f"scopes: expected some of {', '.join(SCOPES)}, got {', '.join(unknown) or 'none'}")
        secret = _START + secrets.token_urlsafe(32)
        key = Key(secret[:_N_SHOWN], tenant, label[:200], frozenset(scopes), now, expires_at, None)
        row = vars(key) | {"hash": hash_secret(secret), "scopes": " ".join(sorted(key.scopes))}
        with self._database.write() as c:
            c.execute(insert(keys).values(row))
        return secret, key

    def all(self, tenant: str | None = None) -> list[Key]:
        """Return every key, or those of a tenant, oldest first."""
        query = select(keys).order_by(keys.c.created_at)
        with self._database.read() as c:
            rows = c.execute(query if tenant is None else query.where(keys.c.tenant == tenant))
            return [_key(row._mapping) for row in rows]

    def find(self, secret_hash: str) -> Key | None:
        """Return the key with this hash, or None."""
        with self._database.read() as c:
            row = c.execute(select(keys).where(keys.c.hash == secret_hash)).first()
        return None if row is None else _key(row._mapping)

    def revoke(self, prefix: str, now: float) -> Key:
        """Revoke a key, on a full disk too. Raises InvalidConfig if there is no such key."""
        return self._database.freeing(lambda: self._revoke(prefix, now))

    def _revoke(self, prefix: str, now: float) -> Key:
        with self._database.write() as c:
            this = keys.c.prefix == prefix
            c.execute(update(keys).where(this, keys.c.revoked_at.is_(None)).values(revoked_at=now))
            row = c.execute(select(keys).where(this)).first()
        if row is None:
            raise InvalidConfig(f"there is no key that begins with {prefix!r}: `wtl keys list` shows them")
        return _key(row._mapping)

    def any(self) -> bool:
        """Return True if a key exists, even a revoked one."""
        with self._database.read() as c:
            return c.scalar(select(keys.c.prefix).limit(1)) is not None


def hash_secret(secret: str) -> str:
    """Return the hash of a key that is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: object) -> Key:
    columns = dict(row)  # type: ignore[call-overload]
    del columns["hash"]
    return Key(**columns | {"scopes": frozenset(columns["scopes"].split())})
