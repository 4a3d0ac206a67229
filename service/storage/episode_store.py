"""Episodes as content-addressed safetensors, on a folder or any fsspec URL, checked against their name when read.

A crash leaves a whole file or none. Does not know who refers to them; `storage` does.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from metalearn.data.episode import Episode
from service.storage.object_store import open_object_store, with_room

_SUCCESS = {"true": True, "false": False, "unknown": None}

_SUFFIX = ".safetensors"


class DamagedEpisode(RuntimeError):
    """A stored episode is missing or is not what was stored."""


class EpisodeStore:
    """Episodes by digest."""

    def __init__(self, url: str | Path) -> None:
        self._store = open_object_store(str(url))

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """Keep `episodes`; returns their digests. When it returns, they survive a crash.

        Raises:
            StorageFull: no room; none of them is half there.
        """
        by_name = {episode.digest + _SUFFIX: episode for episode in episodes}
        missing = {name: _encode(episode) for name, episode in by_name.items() if not self._store.has(name)}
        if missing:
            with_room(lambda: self._store.put(missing))
        return [episode.digest for episode in episodes]

    def read(self, digest: str) -> Episode:
        """The episode with this digest. Raises DamagedBlob."""
        try:
            episode = _decode(self._store.get(digest + _SUFFIX))
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise DamagedEpisode(f"episode {digest} cannot be read: {error!r}") from error
        if episode.digest != digest:
            raise DamagedEpisode(f"episode {digest} is not what was stored")
        return episode

    def delete(self, digest: str) -> None:
        """Forget the episode with this digest, if it is there."""
        self._store.drop(digest + _SUFFIX)

    def digests(self) -> Iterator[str]:
        """Every episode there is."""
        return (name.removesuffix(_SUFFIX) for name in self._store.names() if name.endswith(_SUFFIX))


def size(episode: Episode) -> int:
    """The bytes of its numbers."""
    return sum(array.nbytes for array in episode.arrays().values())


def _encode(episode: Episode) -> bytes:
    success = next(key for key, value in _SUCCESS.items() if value is episode.success)
    return save(episode.arrays(), {"success": success})


def _decode(data: bytes) -> Episode:
    n_header = int.from_bytes(data[:8], "little")  # the format's: a length, a JSON header, the arrays
    header: dict[str, Any] = json.loads(data[8 : 8 + n_header])
    arrays = {name: array.copy() for name, array in load(data).items()}  # views of bytes cannot be written to
    return Episode(**arrays, success=_SUCCESS[header["__metadata__"]["success"]])
