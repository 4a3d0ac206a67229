"""Authentication of callers by API key. Keys from the database are cached for a few seconds."""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import Unauthenticated
from service.security.api_keys import ApiKeys, Key, hash_secret
from service.security.caller import ANYBODY, Caller

# openpi's clients send Api-Key instead of Bearer.
_HEADER = re.compile(r"(?:bearer|api-key) +(wtl_[A-Za-z0-9_-]{20,100})", re.IGNORECASE)

_MAX_CACHED = 10_000


@dataclass(frozen=True)
class _CachedKey:
    key: Key | None
    until: float


class Authenticator:
    """Turns an Authorization header into a caller.

    Args:
        keys: the keys in the database.
        opened: True if callers need no key as long as none exists.
        cache_s: seconds that a key from the database is cached; a revoked key may still be accepted for as long.
        now: the clock, in seconds since 1970, that decides when keys expire.
        monotonic: the clock of the cache.
    """

    def __init__(
        self,
        keys: ApiKeys,
        *,
        opened: bool,
        cache_s: float,
        now: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys, self._opened, self._cache_s, self._now, self._monotonic = keys, opened, cache_s, now, monotonic
        self._cached: OrderedDict[str, _CachedKey] = OrderedDict()
        self._open_until = float("-inf")
        self._lock = threading.Lock()

    def keys(self, tenant: str) -> list[Key]:
        """Return the keys of a tenant, oldest first."""
        return self._keys.all(tenant)

    def cached_caller(self, header: str | None) -> Caller | None:
        """Return the caller if it is known without a query, else None. Raises Unauthenticated."""
        if header is None:
            return ANYBODY if self._opened and self._monotonic() < self._open_until else None
        with self._lock:
            cached = self._cached.get(self._secret_hash(header))
        if cached is None or self._monotonic() >= cached.until:
            return None
        return self._caller(cached.key)

    def authenticate(self, header: str | None) -> Caller:
        """Return the caller. Raises Unauthenticated."""
        if header is None:
            # As soon as a key exists, every caller needs one, even if all keys are revoked.
            if not self._opened or self._keys.any():
                self._opened = False
                raise Unauthenticated("there is no API key in the request")
            self._open_until = self._monotonic() + self._cache_s
            return ANYBODY
        secret_hash = self._secret_hash(header)
        key = self._keys.find(secret_hash)
        with self._lock:
            self._cached[secret_hash] = _CachedKey(key, self._monotonic() + self._cache_s)
            self._cached.move_to_end(secret_hash)
            while len(self._cached) > _MAX_CACHED:
                self._cached.popitem(last=False)
        return self._caller(key)

    def _secret_hash(self, header: str) -> str:
        match = _HEADER.fullmatch(header.strip())
        if match is None:
            raise Unauthenticated("the Authorization header holds no API key of this service")
        return hash_secret(match[1])

    def _caller(self, key: Key | None) -> Caller:
        if key is None:
            raise Unauthenticated("the API key is unknown")
        if not key.usable(self._now()):
            raise Unauthenticated("the API key is revoked or expired")
        return Caller(key.tenant, key.scopes, key.prefix)
