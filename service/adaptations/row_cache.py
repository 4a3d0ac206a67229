"""Rows of adaptations in memory, exactly as fresh as the database: what `act` asks for thousands of times a second.

The rule: an answer never comes from a row that another server had changed, and was told so, before the question
came. SQLite says in microseconds whether anybody has written since (`PRAGMA data_version`), and then one row is read
again; it is done on the event loop, since readers of a write-ahead log never wait. What SQLite said is good for all
questions of one turn of the loop: they had come in before the turn began. PostgreSQL says nothing of the kind: there
every question is a read, in a thread.
"""

import asyncio
import json
import sqlite3
from collections import OrderedDict
from dataclasses import fields
from pathlib import Path

from sqlalchemy import bindparam
from sqlalchemy.dialects import sqlite

from service.adaptations.queries import newest
from service.adaptations.records import Adaptation
from service.storage.tables import adaptations

_FIELDS = tuple(field.name for field in fields(Adaptation))


class AdaptationCache:
    """The newest versions of recently used adaptations. A server without a SQLite file remembers none."""

    def __init__(self, file: Path | None, capacity: int) -> None:
        self._capacity = capacity
        self._rows: OrderedDict[str, tuple[int, Adaptation]] = OrderedDict()
        self._pulse: int | None = None  # what SQLite said in this turn of the loop
        self._connection = None
        if file is not None:
            self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._cursor = self._connection.cursor()
            question = newest().where(adaptations.c.id == bindparam("id"))
            self._sql = str(question.compile(dialect=sqlite.dialect(paramstyle="qmark")))
            names = [column.name for column in question.selected_columns]
            self._order = [names.index(name) for name in _FIELDS]

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()

    def get(self, tenant: str, adaptation_id: str) -> Adaptation | None:
        """The newest version; None where only the database can tell. Never waits for anybody.

        To be called on one event loop.
        """
        if self._connection is None:
            return None
        try:
            return self._get(tenant, adaptation_id)
        except sqlite3.Error:
            return None  # whoever asks the database itself hears why

    def _get(self, tenant: str, adaptation_id: str) -> Adaptation | None:
        pulse = self._pulse
        if pulse is None:
            pulse = self._pulse = self._cursor.execute("PRAGMA data_version").fetchone()[0]
            asyncio.get_running_loop().call_soon(self._turn)
        read_at, row = self._rows.get(adaptation_id, (None, None))
        if read_at != pulse:
            values = self._cursor.execute(self._sql, (adaptation_id,)).fetchone()
            if values is None:
                self._rows.pop(adaptation_id, None)
                return None
            found = dict(zip(_FIELDS, (values[i] for i in self._order), strict=True))
            row = Adaptation(**{**found, "scored": bool(found["scored"]), "ask": json.loads(found["ask"])})
            self._rows[adaptation_id] = (pulse, row)
            while len(self._rows) > self._capacity:
                self._rows.popitem(last=False)
        self._rows.move_to_end(adaptation_id)
        return row if row is not None and row.tenant == tenant else None

    def _turn(self) -> None:
        self._pulse = None
