"""Files by name, in a local folder or at any fsspec URL: a crash leaves a whole file or none. Knows no episodes."""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from fsspec import url_to_fs

from metalearn.data.errors import InvalidConfig
from service.errors import StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_ABANDONED_S = 3600.0


class ObjectStore(Protocol):
    """Whole files by name."""

    def has(self, name: str) -> bool:
        """Return True if the file exists; it is whole then."""
        ...

    def put(self, contents: dict[str, bytes]) -> None:
        """Store files, by name. Afterwards they survive a crash. Raises OSError."""
        ...

    def get(self, name: str) -> bytes:
        """Return the contents of a file. Raises OSError."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        ...

    def names(self) -> Iterator[str]:
        """Yield the names of all files."""
        ...


class LocalObjectStore:
    """A local folder. A file gets its name when it is whole and on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(parents=True, exist_ok=True)

    def has(self, name: str) -> bool:
        """Return True if the file exists; incomplete files have other names."""
        return (self._path / name).exists()

    def put(self, contents: dict[str, bytes]) -> None:
        """Write temporary files, sync them, and rename them."""
        drafts: dict[str, Path] = {}
        try:
            for name, content in contents.items():
                drafts[name] = self._path / f"{name}.{secrets.token_hex(4)}.tmp"
                with drafts[name].open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            for name, draft in drafts.items():
                draft.replace(self._path / name)
        except OSError:
            for draft in drafts.values():
                draft.unlink(missing_ok=True)
            raise
        _sync_names(self._path)

    def get(self, name: str) -> bytes:
        """Return the contents of a file. Raises OSError."""
        return (self._path / name).read_bytes()

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        (self._path / name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Yield the names of all files. Deletes old temporary files, which crashes leave behind."""
        for path in self._path.iterdir():
            if path.suffix != ".tmp":
                yield path.name
            else:
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_S:
                        path.unlink()


class FsspecObjectStore:
    """Any other file system that fsspec knows. Object stores write whole objects or none."""

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = url_to_fs(url)
            self._fs.makedirs(self._root, exist_ok=True)
        except (ImportError, ValueError) as error:
            raise InvalidConfig(f"no file system for the URL {url.partition('://')[0]}://...: {error}") from error

    def has(self, name: str) -> bool:
        """Return True if the file exists."""
        return bool(self._fs.exists(self._at(name)))

    def put(self, contents: dict[str, bytes]) -> None:
        """Write the files one by one."""
        for name, content in contents.items():
            self._fs.pipe_file(self._at(name), content)

    def get(self, name: str) -> bytes:
        """Return the contents of a file. Raises OSError."""
        return bytes(self._fs.cat_file(self._at(name)))

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def names(self) -> Iterator[str]:
        """Yield the names of all files, without fsspec's cache: other processes may have added some."""
        self._fs.invalidate_cache()
        for path in self._fs.ls(self._root, detail=False):
            yield str(path).rpartition("/")[2]

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def open_object_store(url: str) -> ObjectStore:
    """Open a folder, by its path or as `file://`, or any URL that fsspec knows. Raises InvalidConfig."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalObjectStore(Path(url))
    return LocalObjectStore(Path(rest)) if scheme in {"file", "local"} else FsspecObjectStore(url)


def with_room(put: Callable[[], None]) -> None:
    """Call `put`, and raise StorageFull if the disk is full."""
    try:
        put()
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull from error
        raise


def _sync_names(folder: Path) -> None:
    """Sync the names in `folder` to the disk; syncing a file covers only its contents."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
