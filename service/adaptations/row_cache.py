"""A cache of the rows that `act` needs thousands of times a second, exactly as fresh as the database.

A response never uses a row that another server had changed, with its commit acknowledged, before the request arrived.
`PRAGMA data_version` of SQLite tells in microseconds if anybody has written since; if so, the row is read again, on the
event loop, since readers of a write-ahead log never wait. The result holds for all requests of one turn of the loop,
which arrived before the turn began. PostgreSQL has nothing like it: there each request reads the row in a thread.
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
    """Adaptations in their newest versions, the recently used ones. Always empty without a SQLite file."""

    def __init__(self, file: Path | None, capacity: int) -> None:
        self._capacity = capacity
        self._rows: OrderedDict[str, tuple[int, Adaptation]] = OrderedDict()
        self._data_version: int | None = None  # as read in this turn of the event loop
        self._connection = None
        if file is not None:
            self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._cursor = self._connection.cursor()
            query = newest().where(adaptations.c.id == bindparam("id"))
            self._sql = str(query.compile(dialect=sqlite.dialect(paramstyle="qmark")))
            names = [column.name for column in query.selected_columns]
            self._order = [names.index(name) for name in _FIELDS]

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def get(self, tenant: str, adaptation_id: str) -> Adaptation | None:
        """Return the newest version, or None if the database has to be asked. Never blocks.

        Must be called on one event loop only.
        """
        if self._connection is None:
            return None
        try:
            return self._get(tenant, adaptation_id)
        except sqlite3.Error:
            return None  # the read from the database that follows reports the error

    def _get(self, tenant: str, adaptation_id: str) -> Adaptation | None:
        data_version = self._data_version
        if data_version is None:
            data_version = self._data_version = self._cursor.execute("PRAGMA data_version").fetchone()[0]
            asyncio.get_running_loop().call_soon(self._end_turn)
        read_at, row = self._rows.get(adaptation_id, (None, None))
        if read_at != data_version:
            values = self._cursor.execute(self._sql, (adaptation_id,)).fetchone()
            if values is None:
                self._rows.pop(adaptation_id, None)
                return None
            found = dict(zip(_FIELDS, (values[i] for i in self._order), strict=True))
            row = Adaptation(**{**found, "scored": bool(found["scored"]), "ask": json.loads(found["ask"])})
            self._rows[adaptation_id] = (data_version, row)
            while len(self._rows) > self._capacity:
                self._rows.popitem(last=False)
        self._rows.move_to_end(adaptation_id)
        return row if row is not None and row.tenant == tenant else None

    def _end_turn(self) -> None:
        self._data_version = None
