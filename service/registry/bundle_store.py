"""Registered bundles, one file each, in a folder or at any fsspec URL.

A single file is written as a whole or not at all, so no server reads half a bundle. A bundle is checked against its
digests and its id when it is read.
"""

import io
import tempfile
import zipfile
from pathlib import Path

from metalearn.bundle import Bundle
from metalearn.data.errors import InvalidConfig
from service.storage.object_store import open_object_store, with_room

_EPOCH = (1980, 1, 1, 0, 0, 0)


class BundleStore:
    """Bundles by id."""

    def __init__(self, url: str) -> None:
        self._store = open_object_store(url)

    def keep(self, bundle_id: str, bundle: Bundle) -> None:
        """Store a bundle. One with the same id is replaced if anything that is not part of the id has changed.

        Raises:
            StorageFull: the disk is full; nothing of the bundle is stored.
        """
        name, content = _name(bundle_id), _pack(bundle)
        if not self._store.has(name) or self._store.get(name) != content:
            with_room(lambda: self._store.put({name: content}))

    def read(self, bundle_id: str) -> Bundle:
        """Return the bundle with this id. Raises InvalidConfig if it is missing or damaged."""
        bundle = self._read(bundle_id)
        if bundle.id != bundle_id:
            raise InvalidConfig(f"the bundle stored as {bundle_id} is {bundle.id}")
        return bundle

    def _read(self, bundle_id: str) -> Bundle:
        try:
            content = self._store.get(_name(bundle_id))
        except OSError as error:
            raise InvalidConfig(f"no bundle {bundle_id} is stored: {error!r}") from error
        with tempfile.TemporaryDirectory() as folder:
            try:
                with zipfile.ZipFile(io.BytesIO(content)) as packed:
                    packed.extractall(folder)
            except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
                raise InvalidConfig(f"the bundle stored as {bundle_id} is damaged: {error!r}") from error
            return Bundle.load(Path(folder))


def _name(bundle_id: str) -> str:
    return f"{bundle_id}.zip"


def _pack(bundle: Bundle) -> bytes:
    """Pack the files of a bundle into a zip, with the same bytes for the same bundle."""
    target = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        root = bundle.save(Path(folder))
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            packed.writestr(zipfile.ZipInfo(str(path.relative_to(root)), _EPOCH), path.read_bytes())
    return target.getvalue()
