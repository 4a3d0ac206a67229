"""Recorded episodes that need not fit into memory: Ray Data prefetches shards, the loop learns from a window.

Shards come in an order that the seed decides, so a run that goes on learns from what it would have learnt from.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import ray
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes

from metalearn.data.dataset import DAMAGE, INDEX_FILE, READABLE, SCHEMA, Dataset, unpack_shard
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import parse_json
from metalearn.data.spec import Spec

WINDOW_TASKS = 16_384
"""Tasks in memory at a time: about a gigabyte of episodes of 100 steps and 40 numbers."""
WINDOW_STEPS = 500
READ_AHEAD = 2
"""Shards that are read before they are asked for."""


@dataclass(frozen=True)
class StreamedDataOpener:
    """Opens a recorded dataset at a URL, in the process that learns from it."""

    url: str
    seed: int
    window_tasks: int = WINDOW_TASKS
    window_steps: int = WINDOW_STEPS

    def __call__(self) -> "StreamedData":
        """As a stream. Raises InvalidConfig."""
        return StreamedData(self.url, self.seed, self.window_tasks, self.window_steps)


class StreamedData:
    """A recorded dataset (`metalearn.training.recorded.RecordedData`), a window of shards at a time.

    Args:
        url: of the folder that `Dataset.save` wrote, on any file system that fsspec knows.
        seed: of the order of shards.
        window_tasks: tasks to learn from at a time; a dataset that is not larger is read once.
        window_steps: gradient steps on each window.

    Raises:
        InvalidConfig: no dataset there, or one of another schema.
    """

    def __init__(self, url: str, seed: int, window_tasks: int, window_steps: int) -> None:
        self._url, self._seed, self._steps = url.rstrip("/"), seed, window_steps
        index, content = _index(self._url)
        self.spec = Spec.from_json(index["spec"])
        self._shards = index["shards"]
        entries = [entry for shard in self._shards for entry in shard["tasks"]]
        self.n_tasks, self.max_trials = len(entries), max((len(entry["trials"]) for entry in entries), default=0)
        largest = max((len(shard["tasks"]) for shard in self._shards), default=1)
        self._per_window = min(len(self._shards), max(1, window_tasks // largest))
        how = f"{seed if self._per_window < len(self._shards) else 'whole'} {self._per_window} {window_steps}"
        self.digest = hashlib.sha256(content + how.encode()).hexdigest()
        self._window: int | None = None
        self._coming: Iterator[tuple[int, bytes]] = iter(())

    def at(self, step: int) -> Dataset | None:
        """The window of that step, if it is not the one that was asked for before. Raises InvalidConfig."""
        whole = self._per_window == len(self._shards)
        wanted = 0 if whole else step // self._steps
        if wanted == self._window:
            return None
        if self._window is None or wanted != self._window + 1:
            self._coming = self._stream(wanted)
        self._window = wanted
        records = []
        for _ in range(self._per_window):
            number, content = next(self._coming)
            try:
                records += unpack_shard(self._shards[number], load_bytes(content))
            except (*DAMAGE, SafetensorError) as error:
                raise InvalidConfig(f"dataset {self._url} is damaged: {self._shards[number]['file']}") from error
        return Dataset(self.spec, tuple(records)).check()

    def _stream(self, window: int) -> Iterator[tuple[int, bytes]]:
        """Shards from the first one of `window` on, for ever: every one of them once, then in another order."""
        n, position = len(self._shards), window * self._per_window
        while True:
            epoch, start = divmod(position, n)
            order = range(n) if self._per_window == n else np.random.default_rng([self._seed, epoch]).permutation(n)
            numbers = [int(number) for number in order][start:]
            yield from zip(numbers, self._read(numbers), strict=True)
            position = (epoch + 1) * n

    def _read(self, numbers: list[int]) -> Iterator[bytes]:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        files = [{"url": f"{self._url}/{self._shards[number]['file']}"} for number in numbers]
        shards = ray.data.from_items(files, override_num_blocks=len(files)).map(_read_file)
        for batch in shards.iter_batches(batch_size=1, prefetch_batches=READ_AHEAD):
            yield bytes(batch["content"][0])


def _read_file(row: dict[str, Any]) -> dict[str, Any]:
    with fsspec.open(row["url"], "rb") as file:
        return {"content": file.read()}


def _index(url: str) -> tuple[dict[str, Any], bytes]:
    try:
        with fsspec.open(f"{url}/{INDEX_FILE}", "rb") as file:
            content: bytes = file.read()
        index = parse_json(content, INDEX_FILE)
        if index["schema"] not in READABLE:
            raise InvalidConfig(f"dataset {url}: expected schema {SCHEMA}, got {index['schema']}")
    except (OSError, ImportError) as error:
        raise InvalidConfig(f"no dataset at {url}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidConfig(f"dataset {url} is damaged: {error!r}") from error
    return index, content
