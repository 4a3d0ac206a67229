"""The end of a server in two steps: it drains, so that load balancers notice, and then it stops.

While it drains it answers as before, except that `/readyz` fails and streams end. When it stops, new requests and those
whose bodies are still coming get a 503 at once, and the others are answered.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import ShuttingDown


class Shutdown:
    """The state of the end of one server. `draining` is set first; `stop` may be called from any thread."""

    def __init__(self) -> None:
        self.draining = threading.Event()
        self._stopping = threading.Event()
        self._waits: set[tuple[asyncio.AbstractEventLoop, asyncio.Timeout]] = set()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Refuse new requests, and end every wait for the rest of a request."""
        self.draining.set()
        with self._lock:
            self._stopping.set()
            waits, self._waits = self._waits, set()
        for loop, timeout in waits:
            loop.call_soon_threadsafe(_end, timeout)

    def check(self) -> None:
        """Raise ShuttingDown if the server stops."""
        if self._stopping.is_set():
            raise ShuttingDown

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """Raise TimeoutError if the block takes longer, and ShuttingDown as soon as the server stops."""
        self.check()
        try:
            async with asyncio.timeout(seconds) as timeout:
                wait = asyncio.get_running_loop(), timeout
                with self._lock:
                    self._waits.add(wait)
                try:
                    yield
                finally:
                    with self._lock:
                        self._waits.discard(wait)
        except TimeoutError:
            self.check()
            raise


def _end(timeout: asyncio.Timeout) -> None:
    try:
        timeout.reschedule(0.0)
    except RuntimeError:  # the wait has ended meanwhile
        return
