"""How often somebody may ask. Counted in this process: with n servers up to n times as often."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from service.errors import TooManyRequests

_DENIALS = "60/minute"


@dataclass(frozen=True)
class Standing:
    """What is left of a window, and when the next one begins."""

    name: str
    limit: int
    window_s: int
    left: int
    reset_s: int

    @property
    def headers(self) -> Mapping[str, str]:
        """RateLimit and RateLimit-Policy, as the IETF's draft has them."""
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.limit};w={self.window_s}',
            "RateLimit": f'"{self.name}";r={self.left};t={self.reset_s}',
        }


class Rates:
    """Requests per key, and refused keys per address."""

    def __init__(self, rate: str) -> None:
        self._requests, self._denials = parse(rate), parse(_DENIALS)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, who: str) -> Standing:
        """One more request. Raises TooManyRequests."""
        return self._count(self._requests, "requests", who)

    def deny(self, address: str) -> None:
        """One more refused key. Raises TooManyRequests: guessing is slow here, and fills no log."""
        self._count(self._denials, "denials", address)

    def _count(self, item: object, name: str, who: str) -> Standing:
        allowed = self._limiter.hit(item, name, who)  # type: ignore[arg-type]
        window = self._limiter.get_window_stats(item, name, who)  # type: ignore[arg-type]
        reset_s = max(1, math.ceil(window.reset_time - time.time()))
        limit, window_s = item.amount, item.get_expiry()  # type: ignore[attr-defined]
        standing = Standing(name, limit, window_s, window.remaining, reset_s)
        if not allowed:
            expected = f"at most {limit} in {window_s} s"
            raise TooManyRequests(
                f"{expected}; the next window begins in {reset_s} s",
                field=name,
                expected=expected,
                got=f"more than {limit}",
                headers={**standing.headers, "Retry-After": str(reset_s)},
            )
        return standing
