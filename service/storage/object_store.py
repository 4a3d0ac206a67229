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
    """Files by name."""

    def has(self, name: str) -> bool:
        """Whether it is there, and whole."""
        ...

    def put(self, contents: dict[str, bytes]) -> None:
        """Keep them; when it returns they survive a crash."""
        ...

    def get(self, name: str) -> bytes:
        """What is there. Raises OSError."""
        ...

    def drop(self, name: str) -> None:
        """Delete it, if it is there."""
        ...

    def names(self) -> Iterator[str]:
        """Every whole file."""
        ...


class Folder:
    """A local folder: files appear under their names when they are whole and on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def has(self, name: str) -> bool:
        """Whether it is there; nothing half-written has a name."""
        return (self._path / name).exists()

    def put(self, contents: dict[str, bytes]) -> None:
        """Write drafts, sync them, and then give them their names."""
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
        """What is there. Raises OSError."""
        return (self._path / name).read_bytes()

    def drop(self, name: str) -> None:
        """Delete it, if it is there."""
        (self._path / name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Every whole file. Drafts that a crash left behind are removed; a young one may be somebody's."""
        for path in self._path.iterdir():
            if path.suffix != ".tmp":
                yield path.name
            else:
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_S:
                        path.unlink()


class FsspecObjectStore:
    """Any other file system that fsspec knows. Object stores put whole objects or none."""

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = url_to_fs(url)
            self._fs.makedirs(self._root, exist_ok=True)
        except (ImportError, ValueError) as error:
            raise InvalidConfig(f"no file system for the URL {url.partition('://')[0]}://...: {error}") from error

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return bool(self._fs.exists(self._at(name)))

    def put(self, contents: dict[str, bytes]) -> None:
        """Put each."""
        for name, content in contents.items():
            self._fs.pipe_file(self._at(name), content)

    def get(self, name: str) -> bytes:
        """What is there. Raises OSError."""
        return bytes(self._fs.cat_file(self._at(name)))

    def drop(self, name: str) -> None:
        """Delete it, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def names(self) -> Iterator[str]:
        """Every file. Another process's files may have come since: nothing that is listed is remembered."""
        self._fs.invalidate_cache()
        for path in self._fs.ls(self._root, detail=False):
            yield str(path).rpartition("/")[2]

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def open_object_store(url: str) -> ObjectStore:
    """A folder, by its path or `file://`, or what fsspec finds at a URL. Raises InvalidConfig."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Folder(Path(url))
    return Folder(Path(rest)) if scheme in {"file", "local"} else FsspecObjectStore(url)


def with_room(put: Callable[[], None]) -> None:
    """Raises StorageFull: the disk is."""
    try:
        put()
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull from error
        raise


def _sync_names(folder: Path) -> None:
    """Put the names in `folder` on the disk; syncing a file covers its content alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
