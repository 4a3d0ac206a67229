"""Episodes as files: content-addressed safetensors, written so that a crash leaves a whole file or none.

Does not know who refers to them; `storage` does.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metalearn.data.episode import Episode

_ARRAYS = ("observations", "actions", "rewards")
_SUCCESS = {"true": True, "false": False, "unknown": None}


class DamagedBlob(RuntimeError):
    """A stored episode is missing or is not what was stored."""


class Blobs:
    """A folder of episodes by digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """Keep `episodes`; returns their digests. When it returns, they survive a crash."""
        drafts = {}
        for episode in episodes:
            path = self._path(episode.digest)
            if not path.exists() and path not in drafts:
                drafts[path] = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
                with drafts[path].open("wb") as file:
                    file.write(_encode(episode))
                    file.flush()
                    os.fsync(file.fileno())
        for path, draft in drafts.items():
            draft.replace(path)
        if drafts:
            _sync_names(self._folder)
        return [episode.digest for episode in episodes]

    def read(self, digest: str) -> Episode:
        """The episode with this digest. Raises DamagedBlob."""
        path = self._path(digest)
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
                episode = Episode(**arrays, success=_SUCCESS[file.metadata()["success"]])
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise DamagedBlob(f"episode {digest} cannot be read: {error!r}") from error
        if episode.digest != digest:
            raise DamagedBlob(f"episode {digest} is not what was stored")
        return episode

    def delete(self, digest: str) -> None:
        """Forget the episode with this digest, if it is there."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Every episode there is; what a crash left half-written is removed on the way."""
        for path in self._folder.iterdir():
            if path.suffix == ".safetensors":
                yield path.stem
            else:
                path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.safetensors"


def _encode(episode: Episode) -> bytes:
    present = {name: getattr(episode, name) for name in _ARRAYS}
    success = next(key for key, value in _SUCCESS.items() if value is episode.success)
    return save({name: value for name, value in present.items() if value is not None}, {"success": success})


def _sync_names(folder: Path) -> None:
    """Put the names in `folder` on the disk; syncing a file covers its content alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
