"""One run of a suite and its folder, with equal data for all methods of a training seed.

experiment.json            what is trained and measured here; something else is refused
seedN/dataset/             the demonstrations, made once, shared by all methods
seedN/METHOD/              what a method's training leaves, `method.json` last
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from metalearn.adapter import Adapter
from metalearn.baselines.methods import METHODS
from metalearn.benchmark.store import accumulated_seconds, bits, digest, file_digest, locked, read_json, write_json
from metalearn.benchmark.suites import Suite
from metalearn.config import Experiment
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.protocol import Player, Progress, Protocol, returned, succeeded, with_trials
from metalearn.tasks.family import Family, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.training.collect import Collector, demonstrate_chunk, demonstration_chunks

T = TypeVar("T")
R = TypeVar("R")

Outcomes = tuple[list[Array], list[Array]]
"""Success `[t][row]` and returns `[t][row]`."""


class BenchmarkRun:
    """A suite in a folder. `progress` is called with the stage and its progress, and may raise to stop the run."""

    def __init__(self, suite: Suite, folder: Path, collector: Collector, progress: Progress) -> None:
        """Raises InvalidConfig: the folder holds a run of something else."""
        self.suite, self.folder, self.progress = suite, folder, progress
        self.collector = ProgressCollector(collector, progress)
        self.manifest = suite.load_manifest()
        self._dataset: tuple[int, Dataset] | None = None
        claim = {
            "experiment": suite.seeded_experiment(0).model_dump(mode="json", exclude_defaults=True),
            "manifest": self.manifest.digest,
        }
        kept = read_json(folder / "experiment.json")
        if kept not in (None, claim):
            raise InvalidConfig(
                f"{folder} holds a run of another version of {suite.name}: move it away, or give another --runs"
            )
        write_json(folder / "experiment.json", claim)

    @cached_property
    def family(self) -> Family:
        """The family of the test tasks."""
        return find_family(self.manifest.family)

    @cached_property
    def protocol(self) -> Protocol:
        """The manifest's rows."""
        return Protocol.of(self.family, self.manifest)

    @cached_property
    def contexts(self) -> list[Context]:
        """The manifest's demonstrations, one context per row."""
        return self.protocol.demonstrations(self.progress)

    @property
    def on_returns(self) -> bool:
        """True if the manifest measures returns besides success."""
        return self.manifest.measure == "return"

    # -- training ---------------------------------------------------------------------------------------------

    def method_folder(self, name: str, seed: int) -> Path:
        """The folder of a method that is trained with a seed."""
        return self.folder / f"seed{seed}" / name

    def dataset(self, seed: int) -> Dataset:
        """The demonstrations of a training seed; made, or read from disk. The last one asked for is kept."""
        if self._dataset is None or self._dataset[0] != seed:
            self._dataset = None
            self._dataset = (seed, self._made_or_read(seed))
        return self._dataset[1]

    def dataset_folder(self, seed: int) -> Path:
        """The folder of the demonstrations of a training seed."""
        return self.folder / f"seed{seed}" / "dataset"

    def _made_or_read(self, seed: int) -> Dataset:
        folder = self.dataset_folder(seed)
        with locked(folder.parent, lambda: self.progress(f"dataset {seed}: another process", 0, 1)):
            return Dataset.load(folder) if folder.exists() else self._made(seed, folder)

    def _made(self, seed: int, folder: Path) -> Dataset:
        experiment = self.suite.seeded_experiment(seed)
        family = find_family(experiment.family)
        indices = tasks_of(family, "train", experiment.data.n_tasks, seed)
        with accumulated_seconds(folder.parent / "dataset_wall_s.json"):
            chunks = demonstration_chunks(experiment.family, indices, experiment.data, seed)
            records = [record for part in self.collector.map(demonstrate_chunk, chunks) for record in part]
        dataset = Dataset(family.spec, tuple(records))
        unfinished = folder.with_name(".dataset")
        shutil.rmtree(unfinished, ignore_errors=True)
        dataset.save(unfinished)
        unfinished.rename(folder)
        return dataset

    def train(self, name: str, seed: int) -> Path:
        """Train a method, unless it is trained, and before it the one that it builds on; returns its folder."""
        if (other := METHODS[name].builds_on) is not None:
            self.train(other, seed)
        folder = self.method_folder(name, seed)
        self.train_in(folder, name, self.suite.seeded_experiment(seed), seed)
        return folder

    def train_in(self, folder: Path, name: str, experiment: Experiment, seed: int, stage: str = "") -> None:
        """Train a method in a folder, on the first `experiment.data.n_tasks` tasks of the seed's dataset."""
        stage = stage or f"{name} seed {seed}"
        with locked(folder, lambda: self.progress(f"{stage}: another process", 0, 1)):
            if (folder / "method.json").exists():
                return
            dataset, link = self.dataset(seed), folder / "dataset"
            if len(dataset.tasks) > experiment.data.n_tasks:
                dataset = Dataset(dataset.spec, dataset.tasks[: experiment.data.n_tasks])
            elif not link.exists():
                link.symlink_to(os.path.relpath(self.dataset_folder(seed), folder), target_is_directory=True)
            with (
                accumulated_seconds(folder / "wall_s.json"),
                accumulated_seconds(folder / "cpu_s.json", time.process_time),
            ):
                train, report = METHODS[name].train, partial(self.progress, stage)
                train(experiment, folder, dataset, self.collector, seed, report)

    def load(self, name: str, seed: int) -> Adapter:
        """A trained method."""
        return METHODS[name].load(self.method_folder(name, seed), self.family.spec)

    # -- measuring --------------------------------------------------------------------------------------------

    def made_from(self, name: str, seed: int, *more: Any) -> str:
        """Digest of what a measurement of a method depends on."""
        return digest(self.manifest.digest, file_digest(self.method_folder(name, seed) / "method.json"), *more)

    def play(self, stage: str, player: Player, protocol: Protocol, contexts: Sequence[Context]) -> dict[str, Any]:
        """All attempts of a protocol's budget, as outcomes per row that JSON can hold."""
        n_attempts = protocol.manifest.budget.trials + 1
        success, returns = [], []
        for number in range(n_attempts):
            count = partial(self._count, stage, number * protocol.n_rows, n_attempts * protocol.n_rows)
            episodes = protocol.attempt(player, contexts, number, count)
            contexts = with_trials(contexts, episodes)
            success.append(bits(succeeded(episodes)))
            returns.append([round(float(value), 9) for value in returned(episodes)])
        return {"success": success, "returns": returns}

    def _count(self, stage: str, before: int, total: int, done: int) -> None:
        self.progress(stage, before + done, total)


def unpacked(outcome: dict[str, Any]) -> Outcomes:
    """Unpack the outcomes of `BenchmarkRun.play`."""
    success = [flags(text) for text in outcome["success"]]
    return success, [np.array(values, np.float64) for values in outcome["returns"]]


def flags(text: str) -> Array:
    """A string of 0 and 1 as bool `[n]`."""
    return np.array([one == "1" for one in text])


class ProgressCollector:
    """A collector that reports its progress, so that collecting can be shown and stopped."""

    def __init__(self, collector: Collector, progress: Progress) -> None:
        self._collector, self._progress = collector, progress

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """As the collector does."""
        stage = (
            function.__name__.replace("_chunk", "").replace("_", " ") if hasattr(function, "__name__") else "collect"
        )
        for done, result in enumerate(self._collector.map(function, items), 1):
            self._progress(stage, done, len(items))
            yield result
