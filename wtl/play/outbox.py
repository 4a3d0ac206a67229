"""What waits to be sent to one socket: the newest state, and the newest picture once the page has shown the one before.

A page that is slow gets fewer pictures, never old ones. Used by the event loop alone.
"""

import asyncio
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LOST_S = 1.0
"""After this time without a word about a picture, the next one is sent all the same."""


@dataclass(frozen=True)
class Seen:
    """What there is to see now: a state, and a picture as JPEG with what belongs to it."""

    state: Mapping[str, Any] | None = None
    picture: tuple[bytes, Mapping[str, Any]] | None = None


class Outbox:
    """The messages for one socket, which has seen nothing yet."""

    def __init__(self, seen: Seen, now: Callable[[], float]) -> None:
        self._seen, self._now = seen, now
        self._state_is_new, self._picture_is_new = seen.state is not None, seen.picture is not None
        self._sent, self._sent_at, self._shown = 0, 0.0, 0
        self._wake = asyncio.Event()

    def put(self, seen: Seen) -> None:
        """Replace what there is to see."""
        self._state_is_new |= seen.state is not self._seen.state
        self._picture_is_new |= seen.picture is not self._seen.picture
        self._seen = seen
        self._wake.set()

    def shown(self, number: int) -> None:
        """The page has shown a picture."""
        self._shown = max(self._shown, min(number, self._sent))
        self._wake.set()

    async def next(self) -> str | bytes:
        """The next message, as soon as there is one: a state as text, or a picture with a header as bytes."""
        while True:
            self._wake.clear()
            if self._state_is_new:
                self._state_is_new = False
                return json.dumps(self._seen.state)
            waited_s = self._now() - self._sent_at
            if self._picture_is_new and (self._shown >= self._sent or waited_s >= LOST_S):
                return self._next_picture()
            try:
                await asyncio.wait_for(self._wake.wait(), LOST_S if self._picture_is_new else None)
            except TimeoutError:
                continue

    def _next_picture(self) -> bytes:
        assert self._seen.picture is not None
        self._picture_is_new = False
        self._sent, self._sent_at = self._sent + 1, self._now()
        jpeg, about = self._seen.picture
        header = json.dumps({**about, "n": self._sent}).encode()
        return struct.pack("<I", len(header)) + header + jpeg
