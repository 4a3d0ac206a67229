"""Episodes as content-addressed safetensors files, in a folder or at any fsspec URL, checked when they are read.

A crash leaves a whole file or none. Knows no references to episodes; they are in the database.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from metalearn.data.episode import Episode
from service.storage.object_store import open_object_store, with_room

_SUCCESS = {"true": True, "false": False, "unknown": None}

_SUFFIX = ".safetensors"


class DamagedEpisode(RuntimeError):
    """A stored episode is missing or damaged."""


class EpisodeStore:
    """Episodes by digest."""

    def __init__(self, url: str | Path) -> None:
        self._store = open_object_store(str(url))

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """Store `episodes`, and return their digests. Afterwards they survive a crash.

        Raises:
            StorageFull: the disk is full; no episode is partly stored.
        """
        by_name = {episode.digest + _SUFFIX: episode for episode in episodes}
        missing = {name: _encode(episode) for name, episode in by_name.items() if not self._store.has(name)}
        if missing:
            with_room(lambda: self._store.put(missing))
        return [episode.digest for episode in episodes]

    def read(self, digest: str) -> Episode:
        """Return the episode with this digest. Raises DamagedEpisode."""
        try:
            episode = _decode(self._store.get(digest + _SUFFIX))
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise DamagedEpisode(f"episode {digest} cannot be read: {error!r}") from error
        if episode.digest != digest:
            raise DamagedEpisode(f"episode {digest} is not what was stored")
        return episode

    def delete(self, digest: str) -> None:
        """Delete the episode with this digest, if it exists."""
        self._store.delete(digest + _SUFFIX)

    def digests(self) -> Iterator[str]:
        """Return the digests of all episodes."""
        return (name.removesuffix(_SUFFIX) for name in self._store.names() if name.endswith(_SUFFIX))


def size(episode: Episode) -> int:
    """Return the size of an episode's arrays in bytes."""
    return sum(array.nbytes for array in episode.arrays().values())


def _encode(episode: Episode) -> bytes:
    success = next(key for key, value in _SUCCESS.items() if value is episode.success)
    # Parts are views of one array with fields, and safetensors writes only what lies in one piece as it is.
    arrays = {name: np.ascontiguousarray(array) for name, array in episode.arrays().items()}
    return save(arrays, {"success": success})


def _decode(data: bytes) -> Episode:
    n_header = int.from_bytes(data[:8], "little")  # the format: a length, a JSON header, the arrays
    header: dict[str, Any] = json.loads(data[8 : 8 + n_header])
    arrays = {name: array.copy() for name, array in load(data).items()}  # views of bytes are read-only
    return Episode.of_arrays(arrays, _SUCCESS[header["__metadata__"]["success"]])
