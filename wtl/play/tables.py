"""The players of all pages: a page that comes back finds its own, in the middle of an episode if need be.

A page names itself by a random id, which lives as long as its tab. Knows no HTTP.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from wtl.play.outbox import Outbox, Seen
from wtl.play.player import Player
from wtl.play.worker import Show, Worker

MOST = 8
"""Players at a time; beyond that, the page that has been away longest loses its own. No page that is here does."""

Make = Callable[[Show, Callable[[str], None]], Player]
"""Makes a player, of a function that shows a picture and one that tells of a new version of an adaptation."""


class Table:
    """One page's player, what there is to see of it, and the socket that it is shown on, if there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, make: Callable[[Show], Player]) -> None:
        self._loop = loop
        self._seen = Seen()
        self._outbox: Outbox | None = None
        self._send_away: Callable[[], None] | None = None
        self.left_at = 0.0
        self.worker = Worker(
            make,
            lambda state: self._soon(lambda seen: replace(seen, state=state)),
            lambda jpeg, about: self._soon(lambda seen: replace(seen, picture=(jpeg, about))),
        )

    @property
    def away(self) -> bool:
        """Whether no page is here."""
        return self._outbox is None

    def join(self, send_away: Callable[[], None]) -> Outbox:
        """Show everything on a socket. It takes the place of another one, which is sent away."""
        if self._send_away is not None:
            self._send_away()
        self._send_away, self._outbox = send_away, Outbox(self._seen, self._loop.time)
        return self._outbox

    def leave(self, outbox: Outbox) -> None:
        """A socket is gone; the player waits for its page."""
        if self._outbox is outbox:
            self._outbox = self._send_away = None
            self.left_at = self._loop.time()

    def _soon(self, change: Callable[[Seen], Seen]) -> None:
        """Change what there is to see, from the thread of the worker."""

        def put() -> None:
            self._seen = change(self._seen)
            if self._outbox is not None:
                self._outbox.put(self._seen)

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(put)


class Tables:
    """The tables of one process. Used by the event loop alone."""

    def __init__(self, make: Make, loop: asyncio.AbstractEventLoop) -> None:
        self._make, self._loop = make, loop
        self._tables: dict[str, Table] = {}

    def of(self, page: str) -> Table:
        """The table of a page, a new one if it has none."""
        if page not in self._tables:
            self._make_room()
            self._tables[page] = self._new(page)
        return self._tables[page]

    def close(self) -> None:
        """End every thread."""
        for table in self._tables.values():
            table.worker.close()
        for table in self._tables.values():
            table.worker.join(5.0)

    def _new(self, page: str) -> Table:
        def changed(adaptation: str) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._tell_others, page, adaptation)

        return Table(self._loop, lambda show: self._make(show, changed))

    def _tell_others(self, page: str, adaptation: str) -> None:
        command: Mapping[str, Any] = {"do": "refresh", "adaptation": adaptation}
        for name, table in self._tables.items():
            if name != page:
                table.worker.do(command)

    def _make_room(self) -> None:
        away = sorted((table.left_at, name) for name, table in self._tables.items() if table.away)
        for _, name in away[: max(0, len(self._tables) - MOST + 1)]:
            self._tables.pop(name).worker.close()
