"""How often somebody may ask, and how many streams they may hold open. Counted in this process: with n servers up to
n times as much.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from limits import parse

from service.errors import STREAM_WAIT_S, Busy, TooManyRequests, TooManyStreams

_DENIALS = "60/minute"
_MOST_WINDOWS = 10_000
"""Beyond so many, those that are over are forgotten."""


@dataclass(frozen=True)
class RateLimitStatus:
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


@dataclass(frozen=True)
class _Limit:
    name: str
    amount: int
    window_s: int

    @classmethod
    def of(cls, name: str, rate: str) -> "_Limit":
        item = parse(rate)
        return cls(name, item.amount, item.get_expiry())


class RateLimiter:
    """Requests and frames per key, and refused keys per address, in fixed windows.

    The counts are kept here: the library's memory starts a thread every few milliseconds to forget old windows,
    which costs more than an action does.
    """

    def __init__(self, rate: str) -> None:
        self._requests, self._denials = _Limit.of("requests", rate), _Limit.of("denials", _DENIALS)
        self._windows: dict[tuple[str, str], tuple[int, float]] = {}
        self._lock = threading.Lock()

    def count(self, who: str) -> RateLimitStatus:
        """One more request. Raises TooManyRequests."""
        return self._standing(self._requests, *self._take(self._requests, who))

    def spend(self, who: str) -> None:
        """One more frame on a stream, of the same window as requests. Raises TooManyRequests."""
        self._take(self._requests, who)

    def deny(self, address: str) -> None:
        """One more refused key. Raises TooManyRequests: guessing is slow here, and fills no log."""
        self._take(self._denials, address)

    def _take(self, limit: _Limit, who: str) -> tuple[int, float, float]:
        """What was used of the window before, when it ends, and what time it is. Raises TooManyRequests."""
        now_s = time.monotonic()
        with self._lock:
            used, ends_s = self._windows.get((limit.name, who), (0, 0.0))
            if ends_s <= now_s:
                used, ends_s = 0, now_s + limit.window_s
                if len(self._windows) >= _MOST_WINDOWS:
                    self._windows = {key: window for key, window in self._windows.items() if window[1] > now_s}
            self._windows[limit.name, who] = (used + 1, ends_s)
        if used >= limit.amount:
            self._refuse(limit, used, ends_s, now_s)
        return used, ends_s, now_s

    def _refuse(self, limit: _Limit, used: int, ends_s: float, now_s: float) -> None:
        standing, expected = self._standing(limit, used, ends_s, now_s), f"at most {limit.amount} in {limit.window_s} s"
        raise TooManyRequests(
            f"{expected}; the next window begins in {standing.reset_s} s",
            field=limit.name,
            expected=expected,
            got=f"more than {limit.amount}",
            headers={**standing.headers, "Retry-After": str(standing.reset_s)},
        )

    def _standing(self, limit: _Limit, used: int, ends_s: float, now_s: float) -> RateLimitStatus:
        left, reset_s = max(0, limit.amount - used - 1), max(1, math.ceil(ends_s - now_s))
        return RateLimitStatus(limit.name, limit.amount, limit.window_s, left, reset_s)


class StreamLimiter:
    """WebSockets and followers of events that are open, of each tenant and in all. For the event loop only."""

    def __init__(self, of_tenant: int, in_all: int) -> None:
        self._of_tenant, self._in_all = of_tenant, in_all
        self._open: Counter[str] = Counter()

    @contextmanager
    def opened(self, tenant: str) -> Iterator[None]:
        """One more, while the block runs. Raises TooManyStreams, Busy."""
        if self._open[tenant] >= self._of_tenant:
            raise TooManyStreams(self._of_tenant)
        if self._open.total() >= self._in_all:
            raise Busy(f"{self._in_all} streams are open at this server, and it takes no more", wait_s=STREAM_WAIT_S)
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]
