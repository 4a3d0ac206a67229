"""How often somebody may ask. Counted in this process: with n servers up to n times as often."""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from limits import RateLimitItem, parse

from service.errors import TooManyRequests

_DENIALS = "60/minute"
_MOST_WINDOWS = 10_000
"""Beyond so many, those that are over are forgotten."""


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
    """Requests per key, and refused keys per address, in fixed windows.

    The counts are kept here: the library's memory starts a thread every few milliseconds to forget old windows,
    which costs more than an action does.
    """

    def __init__(self, rate: str) -> None:
        self._requests, self._denials = parse(rate), parse(_DENIALS)
        self._windows: dict[tuple[str, str], tuple[int, float]] = {}
        self._lock = threading.Lock()

    def count(self, who: str) -> Standing:
        """One more request. Raises TooManyRequests."""
        return self._count(self._requests, "requests", who)

    def deny(self, address: str) -> None:
        """One more refused key. Raises TooManyRequests: guessing is slow here, and fills no log."""
        self._count(self._denials, "denials", address)

    def _count(self, item: RateLimitItem, name: str, who: str) -> Standing:
        now_s, limit, window_s = time.monotonic(), item.amount, item.get_expiry()
        with self._lock:
            used, ends_s = self._windows.get((name, who), (0, 0.0))
            if ends_s <= now_s:
                used, ends_s = 0, now_s + window_s
                if len(self._windows) >= _MOST_WINDOWS:
                    self._windows = {key: window for key, window in self._windows.items() if window[1] > now_s}
            self._windows[name, who] = (used + 1, ends_s)
        reset_s = max(1, math.ceil(ends_s - now_s))
        standing = Standing(name, limit, window_s, max(0, limit - used - 1), reset_s)
        if used >= limit:
            expected = f"at most {limit} in {window_s} s"
            raise TooManyRequests(
                f"{expected}; the next window begins in {reset_s} s",
                field=name,
                expected=expected,
                got=f"more than {limit}",
                headers={**standing.headers, "Retry-After": str(reset_s)},
            )
        return standing
