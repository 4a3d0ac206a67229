"""Episodes as content-addressed safetensors, on a folder or any fsspec URL, checked against their name when read.

A crash leaves a whole file or none. Does not know who refers to them; `storage` does.
"""

import errno
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from fsspec import url_to_fs
from safetensors import SafetensorError
from safetensors.numpy import load, save

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from service.errors import StorageFull

_ARRAYS = ("observations", "actions", "rewards")
_SUCCESS = {"true": True, "false": False, "unknown": None}
_SUFFIX = ".safetensors"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ABANDONED_S = 3600.0


class DamagedBlob(RuntimeError):
    """A stored episode is missing or is not what was stored."""


class Shelf(Protocol):
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


class Bucket:
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


def shelf_at(url: str) -> Shelf:
    """A folder, by its path or `file://`, or what fsspec finds at a URL. Raises InvalidConfig."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Folder(Path(url))
    return Folder(Path(rest)) if scheme in {"file", "local"} else Bucket(url)


class Blobs:
    """Episodes by digest."""

    def __init__(self, url: str | Path) -> None:
        self._shelf = shelf_at(str(url))

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """Keep `episodes`; returns their digests. When it returns, they survive a crash.

        Raises:
            StorageFull: no room; none of them is half there.
        """
        by_name = {episode.digest + _SUFFIX: episode for episode in episodes}
        missing = {name: _encode(episode) for name, episode in by_name.items() if not self._shelf.has(name)}
        if missing:
            with_room(lambda: self._shelf.put(missing))
        return [episode.digest for episode in episodes]

    def read(self, digest: str) -> Episode:
        """The episode with this digest. Raises DamagedBlob."""
        try:
            episode = _decode(self._shelf.get(digest + _SUFFIX))
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise DamagedBlob(f"episode {digest} cannot be read: {error!r}") from error
        if episode.digest != digest:
            raise DamagedBlob(f"episode {digest} is not what was stored")
        return episode

    def delete(self, digest: str) -> None:
        """Forget the episode with this digest, if it is there."""
        self._shelf.drop(digest + _SUFFIX)

    def digests(self) -> Iterator[str]:
        """Every episode there is."""
        return (name.removesuffix(_SUFFIX) for name in self._shelf.names() if name.endswith(_SUFFIX))


def size(episode: Episode) -> int:
    """The bytes of its numbers."""
    return sum(array.nbytes for name in _ARRAYS if (array := getattr(episode, name)) is not None)


def _encode(episode: Episode) -> bytes:
    present = {name: getattr(episode, name) for name in _ARRAYS}
    success = next(key for key, value in _SUCCESS.items() if value is episode.success)
    return save({name: value for name, value in present.items() if value is not None}, {"success": success})


def _decode(data: bytes) -> Episode:
    n_header = int.from_bytes(data[:8], "little")  # the format's: a length, a JSON header, the arrays
    header: dict[str, Any] = json.loads(data[8 : 8 + n_header])
    arrays = {name: array.copy() for name, array in load(data).items()}  # views of bytes cannot be written to
    return Episode(**arrays, success=_SUCCESS[header["__metadata__"]["success"]])


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
