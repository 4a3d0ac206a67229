"""Meta-training: collect demonstrations, warm up, then collect own trials and learn from them in rounds.

Learns in this process; the collector decides where episodes are collected. Everything that decides the
result is in the experiment, so a stopped run resumes to the same weights.
"""

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metalearn import __version__
from metalearn.bundle import Bundle
from metalearn.config import Experiment, UnitsConfig
from metalearn.data.dataset import FEWEST_TASKS, Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.data.typical import typical
from metalearn.data.units import Units
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.family import tasks_of
from metalearn.tasks.registry import find_family
from metalearn.training import checkpoint
from metalearn.training.batches import TrainingSet
from metalearn.training.checkpoint import Progress
from metalearn.training.collect import Collector, SerialCollector, Snapshot
from metalearn.training.episode_source import EpisodeSource, summary
from metalearn.training.events import Event, Stopped, ignore_event
from metalearn.training.group import Group, SingleProcess
from metalearn.training.learner import CPU, Compute, Learner
from metalearn.training.recorded import InMemoryData, RecordedData
from metalearn.training.run_store import CheckpointManager, FileCheckpointManager, RunStore

__all__ = ["Event", "Stopped", "check_trainable", "train"]

UNIMODAL_ENOUGH = 0.8  # success with an expert's trial as context at which hypotheses may begin to compete
RAMP_FROM = 0.01


def train(
    experiment: Experiment,
    out: Path | RunStore,
    *,
    dataset: Dataset | RecordedData | None = None,
    collector: Collector | None = None,
    listen: Callable[[Event], None] = ignore_event,
    stopping: Callable[[], bool] = lambda: False,
    compute: Compute = CPU,
    group: Group | None = None,
    checkpoints: CheckpointManager | None = None,
    cluster: Mapping[str, Any] | None = None,
) -> Bundle:
    """Train `experiment`, or resume a run that was stopped with the same `out`.

    Args:
        experiment: what to train.
        out: where the dataset, checkpoints, TensorBoard events and the bundle go.
        dataset: recorded episodes to train on; None: the family's expert demonstrates.
        collector: where rollouts run; None: in this process.
        listen: called with every event.
        stopping: polled after every step; True ends the run with a checkpoint.
        compute: device and precision of the learner.
        group: the data-parallel group of processes that all make this call; None: this process alone.
        checkpoints: where checkpoints go; None: to `out`.
        cluster: a description of the machines, for the provenance.

    Returns:
        The trained bundle, also saved at `out / "bundle"`.

    Raises:
        Stopped: `stopping` said so.
        InvalidConfig: an experiment that cannot be trained, or an `out` of another one.
    """
    store = out if isinstance(out, RunStore) else RunStore(out)
    recorded = InMemoryData(dataset) if isinstance(dataset, Dataset) else dataset
    group = group or SingleProcess()
    run = _Run(experiment, store, recorded, group, checkpoints or FileCheckpointManager(store), compute)
    run.listen = listen if group.rank == 0 else ignore_event
    run.stopping = stopping
    return run.run(collector or SerialCollector(), cluster or {})


def check_trainable(experiment: Experiment, recorded: RecordedData | None, n_learners: int = 1) -> Spec:
    """Return the spec of what is trained, if it can be trained. Nothing was collected or written yet.

    Raises:
        InvalidConfig: too few tasks, or spaces, data and configuration that do not fit each other.
    """
    family = find_family(experiment.family) if experiment.family else None
    if recorded is None:
        if family is None:
            raise InvalidConfig("an experiment without a family is trained from recorded episodes")
        tasks_of(family, "train", experiment.data.n_tasks, experiment.seed)
        spec, n_tasks = family.spec, experiment.data.n_tasks
    else:
        spec, n_tasks = recorded.spec, recorded.n_tasks
        if family is not None and family.spec.to_json() != spec.to_json():
            raise InvalidConfig(f"the recorded episodes are of other spaces than family {family.name}")
    fewest = max(FEWEST_TASKS, n_learners)
    if n_tasks < fewest:
        raise InvalidConfig(f"tasks: expected at least {fewest} for {n_learners} learners, got {n_tasks}")
    ConditionalPolicy(experiment.model, spec)
    return spec


class _Run:
    """The state of one call of `train`."""

    listen: Callable[[Event], None]
    stopping: Callable[[], bool]

    def __init__(
        self,
        experiment: Experiment,
        store: RunStore,
        recorded: RecordedData | None,
        group: Group,
        checkpoints: CheckpointManager,
        compute: Compute,
    ) -> None:
        self.experiment, self.config, self.compute = experiment, experiment.training, compute
        self.store, self.recorded, self.group, self.checkpoints = store, recorded, group, checkpoints
        compute.torch_device  # noqa: B018 (a device that is not there is said before the work, not after it)
        self.started = time.monotonic()
        self.family = find_family(experiment.family) if experiment.family else None
        check_trainable(experiment, recorded, group.size)
        self.progress = Progress()
        self.collecting: Snapshot | None = None
        store.folder.mkdir(parents=True, exist_ok=True)

    def run(self, collector: Collector, cluster: Mapping[str, Any]) -> Bundle:
        digest = self.recorded.digest if self.recorded else InMemoryData.NOTHING
        self.group.run_on_rank_zero(lambda: self.store.claim(self.experiment, digest))
        self.source: EpisodeSource | None = None
        if self.family is not None:
            self.source = EpisodeSource(
                self.experiment, self.family, collector, self.store, self.group, self._tell, self.stopping
            )
        path = self.checkpoints.latest()
        stored = checkpoint.read(path) if path else None
        dataset = self._first_data(stored.steps if stored else 0)
        longest = max(1, self.config.trials_per_task, self.recorded.max_trials if self.recorded else 0)
        units = UnitsConfig.model_validate(stored.progress.units) if stored else _units_of(dataset)
        self.progress.units = units.model_dump(mode="json")
        self.model = self.experiment.model.model_copy(update={"max_trials": longest, "units": units})
        torch.manual_seed(self.experiment.seed)
        policy = ConditionalPolicy(self.model, dataset.spec)
        self.data = TrainingSet(dataset, self.model)
        policy.observations.fit(*self.data.observations())
        if policy.dynamics:
            policy.dynamics.fit(self.data.effects(), policy.observations.unit)
        self.learner = Learner(policy, self.config, self.compute, self.group)
        self.generator = torch.Generator().manual_seed(self.experiment.seed)
        held_out = self.source is not None and self.recorded is None
        self._validation = self.source.validation() if held_out and self.source else []
        if stored:
            self._resume(stored, dataset)
        with _tensorboard(self.store.folder) if self.group.rank == 0 else nullcontext() as self.writer:
            self._learn(dataset)
        bundle = self._bundle(dataset, cluster)
        self.group.run_on_rank_zero(lambda: self._save(bundle))
        return bundle

    def _tell(self, phase: str, done: int, total: int) -> None:
        self.listen(Event(phase, done, total))

    def _first_data(self, step: int) -> Dataset:
        if self.recorded:
            dataset = self.recorded.at(step)
            assert dataset is not None
            return dataset
        assert self.source is not None
        return self.source.demonstrations()

    # -- the loop ---------------------------------------------------------------------------------------------

    def _learn(self, dataset: Dataset) -> None:
        config, learner = self.config, self.learner
        while learner.steps < config.total_steps:
            self._renew(dataset)
            batch = self.data.draw(config, self.progress.round > 0, self.generator)
            part = learner.step(batch, self._temperature())
            loss, asked = self.group.total(part, float(self.group.rank == 0 and self.stopping()))
            self._report(loss)
            if asked:
                self._checkpoint()
                raise Stopped(f"stopped after {learner.steps} of {config.total_steps} steps; the same command resumes")
        self._checkpoint()

    def _renew(self, dataset: Dataset) -> None:
        """Update the training data of this step: the window of recorded episodes, or own trials.

        Trials of round r are due when its steps begin. They are begun `staleness` steps earlier, with the policy
        of that moment, so that what is learnt depends on neither the number nor the speed of the actors.
        """
        steps, following = self.learner.steps, self.progress.round + 1
        if self.source is not None:
            self.source.advance()
        if self.recorded and (window := self.recorded.at(steps)):
            self.data = TrainingSet(window, self.model)
        due = self.config.warmup_steps + (following - 1) * self.config.round_steps
        if following > self.config.rounds or steps < due - self.config.staleness:
            return
        if self.source is None or self.config.trials_per_task == 0:
            self.progress.round += int(steps >= due)
            return
        if self.collecting is None:
            self.collecting = self._snapshot()
            self.source.begin_trials(dataset, self.collecting, following)
        if steps >= due:
            self._take_trials(dataset, self.source, self.collecting)

    def _take_trials(self, dataset: Dataset, source: EpisodeSource, policy: Snapshot) -> None:
        steps = self.learner.steps
        assert steps - policy.version <= self.config.staleness
        self.progress.round += 1
        trials, digest = source.take_trials(dataset, policy, self.progress.round)
        self.progress.collections.append(summary(policy, steps, self.progress.round, trials, digest))
        self.collecting = None
        self.data.replace_trials(trials)
        self._checkpoint()

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.model, self.learner.policy.to_weights(), self.learner.steps)

    def _temperature(self) -> float:
        """Return 0 until one behaviour for all hypotheses works (or time is up), then anneal to 1 geometrically."""
        start = self.progress.ramp_start
        latest = max(0, self.config.warmup_steps - self.config.anneal_steps)
        if self.experiment.model.n_hypotheses == 1:
            return 1.0
        if start is None and self.learner.steps >= latest:
            start = self.progress.ramp_start = self.learner.steps
        if start is None:
            return 0.0
        ramped = min(1.0, (self.learner.steps - start) / self.config.anneal_steps)
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
        if self.writer is not None:
            for name, value in {"loss": loss, "temperature": self._temperature(), **seen}.items():
                self.writer.add_scalar(name, value, steps)
        self.listen(Event("train", steps, total, loss, seen.get("trial"), seen.get("retrial")))
        self._checkpoint()

    def _held_out_success(self) -> dict[str, float]:
        if self.source is None or self.recorded is not None:
            return {}
        informed = self.progress.ramp_start is None and self.experiment.model.n_hypotheses > 1
        return self.source.success(self._snapshot(), self._validation, informed)

    # -- the ends ---------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        def write(path: Path) -> None:
            checkpoint.save(path, self.learner, self.generator, self.progress, self.collecting)

        self.checkpoints.save(write if self.group.rank == 0 else None)

    def _resume(self, stored: checkpoint.Checkpoint, dataset: Dataset) -> None:
        self.progress, self.collecting = stored.restore(self.learner, self.generator, self.model)
        if self.source is None:
            return
        if self.progress.round and (trials := self.source.earlier_trials(self.progress.round)):
            self.data.replace_trials(trials)
        if self.collecting is not None:
            self.source.begin_trials(dataset, self.collecting, self.progress.round + 1)

    def _bundle(self, dataset: Dataset, cluster: Mapping[str, Any]) -> Bundle:
        provenance = {
            "experiment": self.experiment.to_json(),
            "recorded": self.recorded is not None,
            "n_tasks": self.recorded.n_tasks if self.recorded else len(dataset.tasks),
            "history": self.progress.history,
            "collections": self.progress.collections,
            "wall_s": round(time.monotonic() - self.started, 1),
            "threads": torch.get_num_threads(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {
                "watch-try-learn": __version__,
                "python": platform.python_version(),
                "torch": version("torch"),
            },
        }
        if cluster:
            provenance["cluster"] = {"learners": self.group.size, **cluster}
        return Bundle(
            name=self.experiment.model_name,
            spec=dataset.spec,
            model=self.model.model_dump(mode="json"),
            weights=self.learner.policy.to_weights(),
            provenance=provenance,
        ).with_example(typical(record.demos[0] for record in dataset.tasks if record.demos))

    def _save(self, bundle: Bundle) -> None:
        bundle.save(self.store.folder / "bundle")
        for name in ("bundle", "tensorboard"):
            self.store.publish(name)


def _units_of(dataset: Dataset) -> UnitsConfig:
    units = Units.fitted(dataset)
    return UnitsConfig(actions=units.actions, reward=units.reward)


def _tensorboard(out: Path) -> Any:
    """A TensorBoard writer for the run; imported here because it is slow to import."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))
