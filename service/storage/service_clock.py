"""The time by which stored things expire. It does not follow the wall clock when that jumps, and survives restarts.

While a server runs, time passes as its monotonic clock says. The database remembers how far it has come, and what the
wall clock showed then; the difference at the next start is the time that nobody was running, or a wrong clock. It
counts at once for what is refused, and for what is deleted only after a while in which the wall clock did not take it
back (docs/decisions/0041).
"""

import threading
from collections.abc import Callable

import structlog
from sqlalchemy import select, update

from service.storage.database import Database
from service.storage.statements import insert_new
from service.storage.tables import clocks

_NAME = "service"
_TOLERANCE = 0.01  # share of the time passed by which a wall clock may run faster or slower
_LEAST_JUMP_S = 1.0
_SHOWN_FROM_S = 5.0
_log = structlog.get_logger("service")


class ServiceClock:
    """The clock of one server on one database.

    Args:
        database: remembers the time between runs, and shares it among servers.
        wall: seconds since 1970; may jump.
        monotonic: seconds since any time; never jumps while this process runs.
        settle_s: time of running after which the time before the start is believed.
    """

    def __init__(
        self, database: Database, wall: Callable[[], float], monotonic: Callable[[], float], settle_s: float
    ) -> None:
        self._database, self._wall, self._monotonic, self._settle_s = database, wall, monotonic, settle_s
        self._lock = threading.Lock()
        self._tick_wall, self._tick = wall(), monotonic()
        self._started = self._tick
        with database.write() as c:
            first = {"name": _NAME, "counted_s": self._tick_wall, "wall_s": self._tick_wall}
            insert_new(c, clocks, [first])
            row = c.execute(select(clocks).where(clocks.c.name == _NAME)).one()
        self._counted: float = row.counted_s
        self._start = row.counted_s, row.wall_s
        self._away = max(0.0, self._tick_wall - row.wall_s)

    def now(self) -> float:
        """Return the time by which things are refused."""
        return self.certain() + self._away

    def certain(self) -> float:
        """Return the time by which things are deleted: without the time before the start, as long as it is doubtful."""
        return self._counted + max(0.0, self._monotonic() - self._tick)

    def agreed(self) -> float:
        """Return the time by which things with times of the wall clock are deleted: both clocks have passed it."""
        return min(self.certain(), self._wall())

    def to_wall(self, at: float) -> float:
        """Convert a time of this clock to what the wall clock will show then, if it does not jump."""
        ahead = self._tick_wall - (self._counted + self._away)
        return at + ahead if abs(ahead) > _SHOWN_FROM_S else at

    def tick(self) -> bool:
        """Count the time since the last call, and store it. Return True if `now` went back."""
        with self._lock:
            away = self._away
            self._count()
            if self._away and self._monotonic() - self._started >= self._settle_s:
                self._counted, self._away = self._counted + self._away, 0.0
                away = 0.0
            self._store()
            return self._away < away

    def _count(self) -> None:
        wall, tick = self._wall(), self._monotonic()
        by_wall, passed = wall - self._tick_wall, tick - self._tick
        if abs(by_wall - passed) > max(_LEAST_JUMP_S, _TOLERANCE * passed):
            _log.warning("the clock of this machine has jumped; nothing expires by it", seconds=round(by_wall - passed))
            by_wall = passed
        self._counted += max(0.0, by_wall)
        self._tick_wall, self._tick = wall, tick
        # A clock that was wrong at the start and is put right takes back what it added, and never adds more.
        counted, seen = self._start
        self._away = min(self._away, max(0.0, wall - seen - (self._counted - counted)))

    def _store(self) -> None:
        this = clocks.c.name == _NAME
        with self._database.write_relaxed() as c:
            known = c.scalar(select(clocks.c.counted_s).where(this).with_for_update())
            self._counted = max(self._counted, known or 0.0)  # another server may be ahead
            values = {"counted_s": self._counted, "wall_s": self._tick_wall - self._away}
            c.execute(update(clocks).where(this).values(values))
