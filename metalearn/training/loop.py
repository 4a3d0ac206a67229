"""Meta-training: demonstrate, warm up, then collect own trials and learn from them, round by round.

Runs in this process; where episodes are collected is the collector's business. Everything that decides the
result is in the experiment, so a run that was stopped resumes to the same weights.
"""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from metalearn import __version__
from metalearn.bundle import Bundle
from metalearn.config import Experiment
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.errors import InvalidConfig, WatchTryLearnError
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.family import TaskId, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.training import checkpoint
from metalearn.training.batches import TrainingSet
from metalearn.training.checkpoint import Progress
from metalearn.training.collect import (
    STREAM_PROGRESS,
    STREAM_TRIAL,
    Collector,
    DemonstrationChunk,
    SerialCollector,
    TaskTrials,
    TrialChunk,
    chunked,
    demonstrate_chunk,
    try_chunk,
)
from metalearn.training.learner import CPU, Compute, Learner

T = TypeVar("T")
R = TypeVar("R")

UNIMODAL_ENOUGH = 0.8  # success with an expert's trial as context at which hypotheses may begin to compete
RAMP_FROM = 0.01


class Stopped(WatchTryLearnError):
    """Training was asked to stop; its checkpoint is written and the same command goes on from it."""


@dataclass(frozen=True)
class Event:
    """What a progress bar wants to know."""

    phase: str
    done: int
    total: int
    loss: float | None = None
    trial: float | None = None
    retrial: float | None = None


def nobody(event: Event) -> None:
    """A listener that does not listen."""


def train(
    experiment: Experiment,
    out: Path,
    *,
    dataset: Dataset | None = None,
    collector: Collector | None = None,
    listen: Callable[[Event], None] = nobody,
    stopping: Callable[[], bool] = lambda: False,
    compute: Compute = CPU,
) -> Bundle:
    """Train `experiment`, or go on where an earlier call with the same `out` was stopped.

    Args:
        experiment: what to train.
        out: folder for the dataset, checkpoints, TensorBoard events and the bundle.
        dataset: recorded episodes to train on; None: the family's expert demonstrates.
        collector: where rollouts run; None: in this process.
        listen: is told what happens.
        stopping: asked after every step; True ends the run with a checkpoint.
        compute: what the learner computes on.

    Returns:
        The trained bundle, also saved at `out / "bundle"`.

    Raises:
        Stopped: `stopping` said so.
        InvalidConfig: an experiment that cannot be trained, or an `out` of another one.
    """
    return _Run(experiment, out, dataset, collector or SerialCollector(), listen, stopping, compute).run()


class _Run:
    """One call of `train`: wires the parts and keeps the time."""

    def __init__(
        self,
        experiment: Experiment,
        out: Path,
        recorded: Dataset | None,
        collector: Collector,
        listen: Callable[[Event], None],
        stopping: Callable[[], bool],
        compute: Compute,
    ) -> None:
        self.experiment, self.config, self.out, self.compute = experiment, experiment.training, out, compute
        self.recorded = recorded
        self.collector, self.listen, self.stopping = collector, listen, stopping
        compute.torch_device  # noqa: B018 (a device that is not there is said before the work, not after it)
        self.started = time.monotonic()
        self.family = find_family(experiment.family) if experiment.family else None
        out.mkdir(parents=True, exist_ok=True)

    def run(self) -> Bundle:
        self._claim_folder()
        dataset = self.recorded.check() if self.recorded else self._demonstrations()
        longest = max(1, self.config.trials_per_task, *(len(record.trials) for record in dataset.tasks))
        self.model = self.experiment.model.model_copy(update={"max_trials": longest})
        torch.manual_seed(self.experiment.seed)
        policy = ConditionalPolicy(self.model, dataset.spec)
        self.data = TrainingSet(dataset, self.model)
        policy.fit_normaliser(self.data.observations())
        if policy.dynamics:
            policy.dynamics.fit(self.data.effects(), policy.features.get_buffer("std"))
        self.learner = Learner(policy, self.config, self.compute)
        self.generator = torch.Generator().manual_seed(self.experiment.seed)
        self.progress = Progress()
        self._validation = self._validation_tasks()
        self._resume(dataset)
        with _tensorboard(self.out) as self.writer:
            self._learn(dataset)
        return self._bundle(dataset)

    def _claim_folder(self) -> None:
        """Write down what is trained in this folder, or check that it is what was. Raises InvalidConfig."""
        recorded = hashlib.sha256()
        for record in self.recorded.tasks if self.recorded else ():
            recorded.update(" ".join(e.digest for e in (*record.demos, *record.experts, *record.trials)).encode())
        claim = json.dumps({"experiment": self.experiment.to_json(), "recorded": recorded.hexdigest()}, indent=1)
        path = self.out / "run.json"
        if not path.exists():
            path.write_text(claim)
        elif path.read_text() != claim:
            raise InvalidConfig(f"{self.out} holds a run of another experiment, seed or data: give another --out")

    # -- the loop ---------------------------------------------------------------------------------------------

    def _learn(self, dataset: Dataset) -> None:
        config, learner = self.config, self.learner
        while learner.steps < config.total_steps:
            past_warmup = max(0, learner.steps - config.warmup_steps)
            round_due = 0 if learner.steps < config.warmup_steps else 1 + past_warmup // config.round_steps
            if round_due > self.progress.round:
                self._collect(dataset, round_due)
            batch = self.data.draw(config, self.progress.round > 0, self.generator)
            loss = learner.step(batch, self._temperature())
            self._report(loss)
            if self.stopping():
                self._checkpoint()
                raise Stopped(f"stopped after {learner.steps} of {config.total_steps} steps; the same command resumes")
        self._checkpoint()

    def _temperature(self) -> float:
        """0 until one behaviour for all hypotheses works (or time is up), then up to 1, geometrically."""
        start = self.progress.ramp_start
        latest = max(0, self.config.warmup_steps - self.config.ramp_steps)
        if self.experiment.model.n_hypotheses == 1:
            return 1.0
        if start is None and self.learner.steps >= latest:
            start = self.progress.ramp_start = self.learner.steps
        if start is None:
            return 0.0
        ramped = min(1.0, (self.learner.steps - start) / self.config.ramp_steps)
        return float(RAMP_FROM ** (1 - ramped))

    def _report(self, loss: float) -> None:
        steps, total = self.learner.steps, self.config.total_steps
        if steps % self.config.check_steps and steps != total:
            if steps % 10 == 0:
                self.listen(Event("train", steps, total, loss))
            return
        seen = self._held_out_success()
        if self.progress.ramp_start is None and seen.get("after_expert", 0.0) >= UNIMODAL_ENOUGH:
            self.progress.ramp_start = steps
        self.progress.history.append({"step": steps, "loss": loss, **seen})
        for name, value in {"loss": loss, "temperature": self._temperature(), **seen}.items():
            self.writer.add_scalar(name, value, steps)
        self.listen(Event("train", steps, total, loss, seen.get("trial"), seen.get("retrial")))
        self._checkpoint()

    # -- episodes ---------------------------------------------------------------------------------------------

    def _demonstrations(self) -> Dataset:
        """The expert's episodes, from disk if an earlier call made them."""
        folder = self.out / "dataset"
        assert self.family is not None
        if (folder / "dataset.json").exists():
            return Dataset.load(folder)
        indices = tasks_of(self.family, "train", self.experiment.data.n_tasks, self.experiment.seed)
        dataset = Dataset(self.family.spec, tuple(self._demonstrate("demonstrate", indices)))
        dataset.save(folder)
        return dataset

    def _demonstrate(self, phase: str, indices: Sequence[int]) -> list[TaskRecord]:
        chunks = [
            DemonstrationChunk(self.experiment.family, piece, self.experiment.data, self.experiment.seed)
            for piece in chunked(indices, self.experiment.data.chunk_tasks)
        ]
        return self._gather(phase, demonstrate_chunk, chunks)

    def _collect(self, dataset: Dataset, round_number: int) -> None:
        """Own trials on every training task with the present policy; without a simulator, nothing."""
        self.progress.round = round_number
        if self.family is None or self.config.trials_per_task == 0:
            return
        tasks = self._try(
            "collect",
            [TaskId.parse(record.task).index for record in dataset.tasks],
            [Context(record.demos) for record in dataset.tasks],
            self.config.trials_per_task + 1,
            STREAM_TRIAL + 100 * round_number,
        )
        records = [
            TaskRecord(record.task, (), trials.attempts, trials.labels)
            for record, trials in zip(dataset.tasks, tasks, strict=True)
        ]
        Dataset(dataset.spec, tuple(records)).save(self.out / f"trials-{round_number}")
        self.data.replace_trials(tasks)
        self._checkpoint()

    def _try(
        self, phase: str, indices: Sequence[int], contexts: Sequence[Context], n_attempts: int, seed: int
    ) -> list[TaskTrials]:
        weights, size = self.learner.policy.to_weights(), self.experiment.data.chunk_tasks
        chunks = [
            TrialChunk(
                self.experiment.family, piece, piece_contexts, self.model, weights, n_attempts,
                seed + 10_000 * self.experiment.seed,
            )
            for piece, piece_contexts in zip(chunked(indices, size), chunked(contexts, size), strict=True)
        ]  # fmt: skip
        return self._gather(phase, try_chunk, chunks)

    def _gather(self, phase: str, function: Callable[[T], list[R]], chunks: Sequence[T]) -> list[R]:
        results: list[R] = []
        for done, result in enumerate(self.collector.map(function, chunks), 1):
            results.extend(result)
            if phase:
                self.listen(Event(phase, done, len(chunks)))
            if self.stopping():
                raise Stopped("stopped while collecting episodes; the same command resumes")
        return results

    # -- held-out success -------------------------------------------------------------------------------------

    def _validation_tasks(self) -> list[TaskRecord]:
        if self.family is None or self.recorded is not None or self.config.check_tasks == 0:
            return []
        n = min(self.config.check_tasks, len(self.family.splits["validation"]))
        return self._demonstrate("", tasks_of(self.family, "validation", n, self.experiment.seed))

    def _held_out_success(self) -> dict[str, float]:
        """Success on validation tasks: of a trial, of the retrial, and of an attempt after an expert's trial."""
        if not self._validation:
            return {}
        records = self._validation
        indices = [TaskId.parse(record.task).index for record in records]
        own = self._try("", indices, [Context(r.demos) for r in records], 2, STREAM_PROGRESS)
        rates = {
            name: float(np.mean([bool(task.attempts[i].success) for task in own]))
            for i, name in enumerate(("trial", "retrial"))
        }
        if self.progress.ramp_start is None and self.experiment.model.n_hypotheses > 1:
            informed = [Context(record.demos, record.experts[:1]) for record in records]
            after = self._try("", indices, informed, 1, STREAM_PROGRESS + 1)
            rates["after_expert"] = float(np.mean([bool(task.attempts[0].success) for task in after]))
        return rates

    # -- the ends ---------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        checkpoint.save(self.out / "checkpoint.safetensors", self.learner, self.generator, self.progress)

    def _resume(self, dataset: Dataset) -> None:
        path = self.out / "checkpoint.safetensors"
        if not path.exists():
            return
        self.progress = checkpoint.load(path, self.learner, self.generator)
        folder = self.out / f"trials-{self.progress.round}"
        if self.progress.round and folder.exists():
            tasks = [TaskTrials(r.experts, r.labels) for r in Dataset.load(folder).tasks]
            self.data.replace_trials(tasks)

    def _bundle(self, dataset: Dataset) -> Bundle:
        provenance = {
            "experiment": self.experiment.to_json(),
            "recorded": self.recorded is not None,
            "n_tasks": len(dataset.tasks),
            "history": self.progress.history,
            "wall_s": round(time.monotonic() - self.started, 1),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {
                "watch-try-learn": __version__,
                "python": platform.python_version(),
                "torch": version("torch"),
            },
        }
        bundle = Bundle(
            name=self.experiment.model_name,
            spec=dataset.spec,
            model=self.model.model_dump(mode="json"),
            weights=self.learner.policy.to_weights(),
            provenance=provenance,
        )
        bundle.save(self.out / "bundle")
        return bundle


def _tensorboard(out: Path) -> Any:
    """A TensorBoard writer for the run; imported here because it is slow to import."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))
