"""Gauges of shared state, read at each scrape: numbers of stored objects, their size, and the free disk space."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from service.container import Container

_KEEP_S = 30.0


@contextmanager
def shared_state_gauges(container: Container) -> Iterator[None]:
    """Add the gauges to the metrics of the server while the block runs."""
    data, watch = container.settings.data, container.metrics.watch
    with ExitStack() as stack:
        for gauge in (
            watch(
                lambda: {"": container.repository.count(container.clock.now())},
                "wtl_adaptations",
                "Adaptations that have not expired.",
            ),
            watch(lambda: {"": len(container.registry.names)}, "wtl_models", "Available models."),
            watch(lambda: {"": container.engine.belief_bytes}, "wtl_beliefs_bytes", "Contexts in memory."),
            watch(container.training_jobs.counts, "wtl_training_jobs", "Training jobs by state.", "state"),
            watch(StoredBytes(data).read, "wtl_storage_bytes", "Bytes in the data folder.", "kind"),
            watch(lambda: {"": shutil.disk_usage(data).free}, "wtl_disk_free_bytes", "Room for the data folder."),
        ):
            stack.enter_context(gauge)
        yield


class StoredBytes:
    """The size of each entry of a folder in bytes. Cached for a while, since there may be 100,000 files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted: tuple[float, Mapping[str, float]] = (-1e9, {})

    def read(self) -> Mapping[str, float]:
        """Return bytes by entry; the files in the folder itself count as `database`."""
        counted_s, sizes = self._counted
        if time.monotonic() - counted_s > _KEEP_S:
            entries = list(os.scandir(self._folder)) if self._folder.is_dir() else []
            sizes = {entry.name: float(_size(entry.path)) for entry in entries if entry.is_dir(follow_symlinks=False)}
            sizes["database"] = float(sum(_length(entry) for entry in entries if entry.is_file()))
            self._counted = (time.monotonic(), sizes)
        return sizes


def _size(folder: str) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(_size(e.path) if e.is_dir(follow_symlinks=False) else _length(e) for e in entries)
    except FileNotFoundError:  # deleted while it was counted
        return 0


def _length(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
