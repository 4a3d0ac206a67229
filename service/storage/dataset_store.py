"""Uploaded data sets to train on: a row per data set, and a file per part, in a folder or at any fsspec URL.

A data set grows by parts, each as large as a request body. Knows neither requests nor training jobs.
"""

import io
import secrets
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.spec import Spec
from service.errors import BadParameter, DatasetNotFound, DatasetTooLarge, InvalidPayload, QuotaExceeded, quote
from service.storage.database import Database
from service.storage.object_store import open_object_store, with_room
from service.storage.statements import lock_tenant
from service.storage.tables import datasets

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class UploadedDataset:
    """What is known of an uploaded data set without reading it. Times are seconds since 1970.

    Attributes:
        uid: what the names of its files begin with.
        parts: of each part its `file`, the names of its `tasks`, `n_episodes` and `n_bytes`.
    """

    position: int
    uid: str
    tenant: str
    name: str
    spec: dict[str, Any]
    parts: list[dict[str, Any]]
    created_at: float
    updated_at: float

    @property
    def task_names(self) -> list[str]:
        """The names of all tasks."""
        return [name for part in self.parts for name in part["tasks"]]

    @property
    def n_episodes(self) -> int:
        """The number of episodes of all tasks."""
        return sum(part["n_episodes"] for part in self.parts)

    @property
    def n_bytes(self) -> int:
        """The size of all files."""
        return sum(part["n_bytes"] for part in self.parts)


class DatasetStore:
    """The data sets of all tenants: at most `most` of each tenant, of at most `most_bytes` each."""

    def __init__(self, database: Database, url: str, most: int, most_bytes: int, now: Callable[[], float]) -> None:
        self._database, self._url, self._most, self._most_bytes, self._now = database, url, most, most_bytes, now
        self._files = open_object_store(url)

    def put(self, tenant: str, name: str, spec: Spec, tasks: Sequence[TaskRecord]) -> tuple[UploadedDataset, bool]:
        """Store a new data set, or one in the place of another; return it, and whether it is new.

        Raises:
            InvalidPayload: two tasks of one name.
            QuotaExceeded: the tenant has as many data sets as it may have.
            DatasetTooLarge: it is larger than a data set may be.
            StorageFull: the disk is full; nothing was stored.
        """
        # The row comes first, so that `tidy` does not take its file for one that a crash left behind.
        new = self._reserve(tenant, name)
        try:
            with self._database.write() as c:
                lock_tenant(c, tenant)
                before = self._read(c, tenant, name)
                stored = self._with_part(c, replace(before, spec=spec.to_json(), parts=[]), 0, tasks)
        except BaseException:
            if new:
                self.delete(tenant, name)
            raise
        self._delete_files(before.parts)
        return stored, new

    def put_part(self, tenant: str, name: str, number: int, tasks: Sequence[TaskRecord]) -> UploadedDataset:
        """Add a part to a data set, or replace the one of this number.

        Raises:
            DatasetNotFound: there is no such data set.
            InvalidPayload, DatasetTooLarge, StorageFull: see `put`.
            BadParameter: parts before this one are missing.
        """
        with self._database.write() as c:
            lock_tenant(c, tenant)
            before = self._read(c, tenant, name)
            if number > len(before.parts):
                expected, got = f"at most {len(before.parts)}, the next one", str(number)
                raise BadParameter.of("part", expected, got)
            stored = self._with_part(c, before, number, tasks)
        self._delete_files(before.parts[number : number + 1])
        return stored

    def read(self, tenant: str, name: str) -> UploadedDataset:
        """Return what is known of a data set. Raises DatasetNotFound."""
        with self._database.read() as c:
            return self._read(c, tenant, name)

    def page(self, tenant: str, limit: int, after: int) -> tuple[list[UploadedDataset], int | None]:
        """Return at most `limit` data sets, oldest first, and the position of the next page, or None."""
        where = (datasets.c.tenant == tenant, datasets.c.position > after)
        query = select(datasets).where(*where).order_by(datasets.c.position).limit(limit + 1)
        with self._database.read() as c:
            rows = [UploadedDataset(**row._mapping) for row in c.execute(query)]
        return rows[:limit], rows[limit - 1].position if len(rows) > limit else None

    def delete(self, tenant: str, name: str) -> None:
        """Delete a data set, on a full disk too. Jobs that have started keep their copy. Raises DatasetNotFound."""

        def work() -> None:
            with self._database.write() as c:
                lock_tenant(c, tenant)
                found = self._read(c, tenant, name)
                c.execute(delete(datasets).where(datasets.c.uid == found.uid))
            self._delete_files(found.parts)

        self._database.freeing(work)

    def load(self, tenant: str, name: str) -> Dataset:
        """Return the data set itself. Raises DatasetNotFound, OSError."""
        found = self.read(tenant, name)
        tasks: list[TaskRecord] = []
        for part in found.parts:
            tasks += _unpack(self._files.get(part["file"])).tasks
        return Dataset(Spec.from_json(found.spec), tuple(tasks))

    def tidy(self) -> None:
        """Delete files that no data set has, or has any more: those of an upload that a crash ended, or replaced."""
        names = list(self._files.names())  # first: the data set of a file is there before the file is
        with self._database.read() as c:
            tenants = list(c.scalars(select(datasets.c.tenant).distinct()))
        used: set[str] = set()
        for tenant in tenants:
            # While a tenant is locked no upload of its is under way, whose file would be there before its part.
            with self._database.write() as c:
                lock_tenant(c, tenant)
                rows = c.execute(select(datasets.c.parts).where(datasets.c.tenant == tenant))
                used |= {part["file"] for (parts,) in rows for part in parts}
        for name in names:
            if name not in used:
                self._files.delete(name)

    def _reserve(self, tenant: str, name: str) -> bool:
        """Make an empty data set unless there is one of this name; return whether it is new. Raises QuotaExceeded."""
        now = self._now()
        with self._database.write() as c:
            lock_tenant(c, tenant)
            if self._find(c, tenant, name) is not None:
                return False
            n = c.scalar(select(func.count()).select_from(datasets).where(datasets.c.tenant == tenant)) or 0
            if n >= self._most:
                limit = f"at most {self._most}"
                detail = f"the tenant may have {self._most} data sets: delete some"
                raise QuotaExceeded(detail, field="name", expected=limit, got=str(n + 1))
            row = {
                "uid": secrets.token_hex(12), "tenant": tenant, "name": name, "spec": {}, "parts": [],
                "created_at": now, "updated_at": now,
            }  # fmt: skip
            c.execute(insert(datasets).values(row))
        return True

    def _with_part(
        self, c: Connection, before: UploadedDataset, number: int, tasks: Sequence[TaskRecord]
    ) -> UploadedDataset:
        """Write a file, and the row of the data set with it."""
        content = _pack(Dataset(Spec.from_json(before.spec), tuple(tasks)))
        part = {
            "file": f"{before.uid}-{secrets.token_hex(6)}.zip",
            "tasks": [record.task for record in tasks],
            "n_episodes": sum(len(record.demos) + len(record.experts) + len(record.trials) for record in tasks),
            "n_bytes": len(content),
        }
        parts = [*before.parts[:number], part, *before.parts[number + 1 :]]
        grown = replace(before, parts=parts, updated_at=self._now())
        if twice := [name for name, n in Counter(grown.task_names).items() if n > 1]:
            expected, got = "names that differ", f"{quote(twice[0])} twice"
            raise InvalidPayload(f"tasks: expected {expected}, got {got}", field="tasks", expected=expected, got=got)
        if grown.n_bytes > self._most_bytes:
            expected, got = f"at most {self._most_bytes} bytes", f"{grown.n_bytes} bytes"
            raise DatasetTooLarge(f"a data set holds {expected}", field="tasks", expected=expected, got=got)
        with_room(lambda: self._files.put({str(part["file"]): content}))
        values = {"spec": grown.spec, "parts": grown.parts, "updated_at": grown.updated_at}
        c.execute(update(datasets).where(datasets.c.uid == grown.uid).values(values))
        return grown

    def _delete_files(self, parts: Sequence[dict[str, Any]]) -> None:
        for part in parts:
            self._files.delete(part["file"])

    def _find(self, c: Connection, tenant: str, name: str) -> UploadedDataset | None:
        row = c.execute(select(datasets).where(datasets.c.tenant == tenant, datasets.c.name == name)).first()
        return None if row is None else UploadedDataset(**row._mapping)

    def _read(self, c: Connection, tenant: str, name: str) -> UploadedDataset:
        found = self._find(c, tenant, name)
        if found is None:
            raise DatasetNotFound(f"there is no data set {quote(name)}", field="dataset", got=quote(name))
        return found


def _pack(dataset: Dataset) -> bytes:
    target = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        dataset.save(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            packed.writestr(zipfile.ZipInfo(path.name, _EPOCH), path.read_bytes())
    return target.getvalue()


def _unpack(content: bytes) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            packed.extractall(folder)
        return Dataset.load(Path(folder))
