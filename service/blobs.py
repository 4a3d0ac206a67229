"""Episodes as files: content-addressed safetensors, written so that a crash leaves a whole file or none.

Does not know who refers to them; `storage` does.
"""

import os
import secrets
from collections.abc import Iterator
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

    def write(self, episode: Episode) -> str:
        """Keep `episode`; returns its digest. When it returns, the episode survives a crash."""
        path = self._path(episode.digest)
        if path.exists():
            return episode.digest
        path.parent.mkdir(exist_ok=True)
        present = {name: getattr(episode, name) for name in _ARRAYS}
        arrays = {name: value for name, value in present.items() if value is not None}
        success = next(key for key, value in _SUCCESS.items() if value is episode.success)
        content = save(arrays, {"success": success})
        write_atomically(path, content)
        return episode.digest

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
        for path in self._folder.glob("*/*"):
            if path.suffix == ".safetensors":
                yield path.stem
            else:
                path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.safetensors"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, whatever happens; on return it is on the disk."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    for folder in (path.parent, path.parent.parent):  # the names, and the shard that may be new
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
