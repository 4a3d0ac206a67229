"""The files of a run: a folder, and optionally a copy of it at any URL that fsspec can open.

A file is either absent or complete: it is moved into place in one step, and the index of a folder is copied last.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import fsspec
from pydantic import ValidationError

from metalearn.config import Experiment
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_json

CHECKPOINT = "checkpoint.safetensors"
RUN = "run.json"


class RunStore:
    """The folder of a run. With a URL the copy there is authoritative, and `folder` is a working copy.

    Raises:
        InvalidConfig: a URL of a kind that this installation cannot open.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder, self.url = folder, url
        if url is not None:
            self._remote, self._root = _opened(url)

    def claim(self, experiment: Experiment, recorded: str) -> None:
        """Write down that this run trains `experiment`, from the recorded episodes of digest `recorded`.

        Raises:
            InvalidConfig: a run of something else is here.
        """
        path = self.folder / RUN
        if not self.fetch(RUN):
            scratch = path.with_suffix(".tmp")
            scratch.write_text(json.dumps({"experiment": experiment.to_json(), "recorded": recorded}, indent=1))
            scratch.replace(path)
            self.publish(RUN)
            return
        try:
            kept = read_json(path)
            same = (Experiment.model_validate(kept["experiment"]), kept["recorded"]) == (experiment, recorded)
        except (ValidationError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            where = self.url or self.folder
            raise InvalidConfig(f"{where} holds a run of another experiment, seed or data: give another --out")

    def publish(self, name: str) -> None:
        """Copy the file or folder `name` to the URL, JSON files last; do nothing without a URL."""
        if self.url is None:
            return
        path = self.folder / name
        files = sorted((p for p in path.rglob("*") if p.is_file()), key=_index_last) if path.is_dir() else [path]
        for file in files:
            target = f"{self._root}/{file.relative_to(self.folder).as_posix()}"
            self._remote.makedirs(target.rpartition("/")[0], exist_ok=True)
            # An object store shows a file when it is whole; a file system does not.
            self._remote.put_file(str(file), target + ".part")
            self._remote.mv(target + ".part", target)

    def fetch(self, name: str) -> bool:
        """Download `name` from the URL into the folder; return whether it exists."""
        target = self.folder / name
        if self.url is None or not self._remote.exists(f"{self._root}/{name}"):
            return target.exists()
        source = f"{self._root}/{name}"
        names = sorted(self._remote.find(source)) or [source]
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            for index, remote_file in enumerate(names):
                inside = remote_file[len(source) :].lstrip("/")
                if inside.endswith(".part"):
                    continue
                local = Path(scratch) / str(index)
                self._remote.get_file(remote_file, str(local))
                place = target / inside if inside else target
                place.parent.mkdir(parents=True, exist_ok=True)
                local.replace(place)
        return True


@runtime_checkable
class CheckpointManager(Protocol):
    """Saves checkpoints of a run and finds the newest one."""

    def save(self, write: Callable[[Path], None] | None) -> None:
        """Save the checkpoint that `write(path)` writes. Every rank calls this; only rank 0 gives a `write`."""
        ...

    def latest(self) -> Path | None:
        """Return the file of the newest checkpoint, or None."""
        ...


class FileCheckpointManager:
    """A single checkpoint file in the store of the run, replaced each time."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def save(self, write: Callable[[Path], None] | None) -> None:
        """Write the file and publish it."""
        if write is not None:
            write(self._store.folder / CHECKPOINT)
            self._store.publish(CHECKPOINT)

    def latest(self) -> Path | None:
        """Return the file, if there is one."""
        return self._store.folder / CHECKPOINT if self._store.fetch(CHECKPOINT) else None


def fetch_folder(url: str, scratch: Path) -> Path:
    """Return a local folder with the content of `url`: the folder itself if it is local, else a copy below `scratch`.

    Raises:
        InvalidConfig: nothing there, or a kind of URL that this installation cannot open.
    """
    if "://" not in url:
        return Path(url)
    root, _, name = url.rstrip("/").rpartition("/")
    scratch.mkdir(parents=True, exist_ok=True)
    if not RunStore(scratch, root).fetch(name):
        raise InvalidConfig(f"nothing at {url}")
    return scratch / name


def _index_last(path: Path) -> tuple[bool, str]:
    return path.suffix == ".json", str(path)


def _opened(url: str) -> tuple[Any, str]:
    try:
        filesystem, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InvalidConfig(f"storage {url}: {error}") from error
    return filesystem, root.rstrip("/")
