"""Limits on the rate of requests and on the number of open streams.

Each process counts on its own, so n servers allow up to n times as much.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import STREAM_WAIT_S, Busy, TooManyRequests, TooManyStreams
from service.settings import parse_rate

_DENIALS = "60/minute"
_MOST_WINDOWS = 10_000
"""Beyond this number, expired windows are deleted."""


@dataclass(frozen=True)
class RateLimitStatus:
    """The remaining requests of a window, and the seconds until the next one."""

    name: str
    limit: int
    window_s: int
    left: int
    reset_s: int

    @property
    def headers(self) -> Mapping[str, str]:
        """RateLimit and RateLimit-Policy headers after the IETF draft."""
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
        return cls(name, *parse_rate(rate))


class RateLimiter:
    """Counts requests and frames per key, and refused keys per address, in fixed windows.

    A library would bring a storage with threads that delete old windows, which take longer than an action.
    """

    def __init__(self, rate: str) -> None:
        self._requests, self._denials = _Limit.of("requests", rate), _Limit.of("denials", _DENIALS)
        self._windows: dict[tuple[str, str], tuple[int, float]] = {}
        self._lock = threading.Lock()

    def count(self, subject: str) -> RateLimitStatus:
        """Count one request. Raises TooManyRequests."""
        return self._status(self._requests, *self._take(self._requests, subject))

    def spend(self, subject: str) -> None:
        """Count one frame of a stream, in the same window as requests. Raises TooManyRequests."""
        self._take(self._requests, subject)

    def deny(self, address: str) -> None:
        """Count one refused key. Raises TooManyRequests, which slows down guessing."""
        self._take(self._denials, address)

    def _take(self, limit: _Limit, subject: str) -> tuple[int, float, float]:
        """Return the uses of the window before this one, its end, and the current time. Raises TooManyRequests."""
        now_s = time.monotonic()
        with self._lock:
            used, ends_s = self._windows.get((limit.name, subject), (0, 0.0))
            if ends_s <= now_s:
                used, ends_s = 0, now_s + limit.window_s
                if len(self._windows) >= _MOST_WINDOWS:
                    self._windows = {key: window for key, window in self._windows.items() if window[1] > now_s}
            self._windows[limit.name, subject] = (used + 1, ends_s)
        if used >= limit.amount:
            self._refuse(limit, used, ends_s, now_s)
        return used, ends_s, now_s

    def _refuse(self, limit: _Limit, used: int, ends_s: float, now_s: float) -> None:
        status, expected = self._status(limit, used, ends_s, now_s), f"at most {limit.amount} in {limit.window_s} s"
        raise TooManyRequests(
            f"{expected}; the next window begins in {status.reset_s} s",
            field=limit.name,
            expected=expected,
            got=f"more than {limit.amount}",
            headers={**status.headers, "Retry-After": str(status.reset_s)},
        )

    def _status(self, limit: _Limit, used: int, ends_s: float, now_s: float) -> RateLimitStatus:
        left, reset_s = max(0, limit.amount - used - 1), max(1, math.ceil(ends_s - now_s))
        return RateLimitStatus(limit.name, limit.amount, limit.window_s, left, reset_s)


class StreamLimiter:
    """Counts open WebSockets and event streams, per tenant and in total. Used on the event loop only."""

    def __init__(self, of_tenant: int, in_all: int) -> None:
        self._of_tenant, self._in_all = of_tenant, in_all
        self._open: Counter[str] = Counter()

    @contextmanager
    def opened(self, tenant: str) -> Iterator[None]:
        """Count one stream while the block runs. Raises TooManyStreams, Busy."""
        if self._open[tenant] >= self._of_tenant:
            raise TooManyStreams(self._of_tenant)
        if self._open.total() >= self._in_all:
            raise Busy(f"this server already has its limit of {self._in_all} open streams", wait_s=STREAM_WAIT_S)
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]
