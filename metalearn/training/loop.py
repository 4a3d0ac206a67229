"""Meta-training: demonstrate, warm up, then collect own trials and learn from them, round by round.

Runs in this process; where episodes are collected is the collector's business. Everything that decides the
result is in the experiment, so a run that was stopped resumes to the same weights.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from metalearn import __version__
from metalearn.bundle import Bundle
from metalearn.config import Experiment
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.training import checkpoint
from metalearn.training.batches import TrainingSet
from metalearn.training.checkpoint import Progress
from metalearn.training.collect import Collector, SerialCollector, Snapshot
from metalearn.training.episode_source import Experience, Stopped, summary
from metalearn.training.group import Alone, Group
from metalearn.training.learner import CPU, Compute, Learner
from metalearn.training.recorded import Recorded, Whole
from metalearn.training.run_store import FileKeeper, Keeper, RunStore

__all__ = ["Event", "Stopped", "nobody", "train"]

UNIMODAL_ENOUGH = 0.8  # success with an expert's trial as context at which hypotheses may begin to compete
RAMP_FROM = 0.01


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
    out: Path | RunStore,
    *,
    dataset: Dataset | Recorded | None = None,
    collector: Collector | None = None,
    listen: Callable[[Event], None] = nobody,
    stopping: Callable[[], bool] = lambda: False,
    compute: Compute = CPU,
    group: Group | None = None,
    keeper: Keeper | None = None,
    place: Mapping[str, Any] | None = None,
) -> Bundle:
    """Train `experiment`, or go on where an earlier call with the same `out` was stopped.

    Args:
        experiment: what to train.
        out: where the dataset, checkpoints, TensorBoard events and the bundle go.
        dataset: recorded episodes to train on; None: the family's expert demonstrates.
        collector: where rollouts run; None: in this process.
        listen: is told what happens.
        stopping: asked after every step; True ends the run with a checkpoint.
        compute: what the learner computes on.
        group: learners in other processes that make this call too, and take every step together; None: none.
        keeper: where checkpoints go; None: to `out`.
        place: what the run runs on, for its provenance.

    Returns:
        The trained bundle, also saved at `out / "bundle"`.

    Raises:
        Stopped: `stopping` said so.
        InvalidConfig: an experiment that cannot be trained, or an `out` of another one.
    """
    store = out if isinstance(out, RunStore) else RunStore(out)
    recorded = Whole(dataset) if isinstance(dataset, Dataset) else dataset
    group = group or Alone()
    run = _Run(experiment, store, recorded, group, keeper or FileKeeper(store), compute)
    run.listen = listen if group.rank == 0 else nobody
    run.stopping = stopping
    return run.run(collector or SerialCollector(), place or {})


class _Run:
    """One call of `train`: wires the parts and keeps the time."""

    listen: Callable[[Event], None]
    stopping: Callable[[], bool]

    def __init__(
        self,
        experiment: Experiment,
        store: RunStore,
        recorded: Recorded | None,
        group: Group,
        keeper: Keeper,
        compute: Compute,
    ) -> None:
        self.experiment, self.config, self.compute = experiment, experiment.training, compute
        self.store, self.recorded, self.group, self.keeper = store, recorded, group, keeper
        compute.torch_device  # noqa: B018 (a device that is not there is said before the work, not after it)
        self.started = time.monotonic()
        self.family = find_family(experiment.family) if experiment.family else None
        self.progress = Progress()
        self.ahead: Snapshot | None = None
        store.folder.mkdir(parents=True, exist_ok=True)

    def run(self, collector: Collector, place: Mapping[str, Any]) -> Bundle:
        self.group.once(self._claim_folder)
        self.experience: Experience | None = None
        if self.family is not None:
            self.experience = Experience(
                self.experiment, self.family, collector, self.store, self.group, self._tell, self.stopping
            )
        path = self.keeper.latest()
        stored = checkpoint.read(path) if path else None
        dataset = self._first_data(stored.steps if stored else 0)
        longest = max(1, self.config.trials_per_task, self.recorded.max_trials if self.recorded else 0)
        self.model = self.experiment.model.model_copy(update={"max_trials": longest})
        torch.manual_seed(self.experiment.seed)
        policy = ConditionalPolicy(self.model, dataset.spec)
        self.data = TrainingSet(dataset, self.model)
        policy.observations.fit(self.data.observations())
        if policy.dynamics:
            policy.dynamics.fit(self.data.effects(), policy.observations.unit)
        self.learner = Learner(policy, self.config, self.compute, self.group)
        self.generator = torch.Generator().manual_seed(self.experiment.seed)
        held_out = self.experience is not None and self.recorded is None
        self._validation = self.experience.validation() if held_out and self.experience else []
        if stored:
            self._resume(stored, dataset)
        with _tensorboard(self.store.folder) if self.group.rank == 0 else nullcontext() as self.writer:
            self._learn(dataset)
        bundle = self._bundle(dataset, place)
        self.group.once(lambda: self._save(bundle))
        return bundle

    def _tell(self, phase: str, done: int, total: int) -> None:
        self.listen(Event(phase, done, total))

    def _first_data(self, step: int) -> Dataset:
        if self.recorded:
            dataset = self.recorded.at(step)
            assert dataset is not None
            return dataset
        if self.experience is None:
            raise InvalidConfig("an experiment without a family is trained from recorded episodes")
        return self.experience.demonstrations()

    def _claim_folder(self) -> None:
        """Write down what is trained in this folder, or check that it is what was. Raises InvalidConfig."""
        recorded = self.recorded.digest if self.recorded else Whole.NOTHING
        path = self.store.folder / "run.json"
        if not self.store.fetch("run.json"):
            scratch = path.with_suffix(".tmp")
            scratch.write_text(json.dumps({"experiment": self.experiment.to_json(), "recorded": recorded}, indent=1))
            scratch.replace(path)
            self.store.publish("run.json")
            return
        try:
            claim = json.loads(path.read_text())
            same = (Experiment.model_validate(claim["experiment"]), claim["recorded"]) == (self.experiment, recorded)
        except (ValidationError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            where = self.store.url or self.store.folder
            raise InvalidConfig(f"{where} holds a run of another experiment, seed or data: give another --out")

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
        """Bring in what is to be learnt from, from this step on: recorded episodes, or own trials.

        Trials of round r are due when its steps begin. They are begun `staleness` steps earlier, with the policy
        of that moment, so that what is learnt depends on neither the number nor the speed of the actors.
        """
        steps, following = self.learner.steps, self.progress.round + 1
        if self.experience is not None:
            self.experience.advance()
        if self.recorded and (window := self.recorded.at(steps)):
            self.data = TrainingSet(window, self.model)
        due = self.config.warmup_steps + (following - 1) * self.config.round_steps
        if following > self.config.rounds or steps < due - self.config.staleness:
            return
        if self.experience is None or self.config.trials_per_task == 0:
            self.progress.round += int(steps >= due)
            return
        if self.ahead is None:
            self.ahead = self._snapshot()
            self.experience.begin_trials(dataset, self.ahead, following)
        if steps >= due:
            self._take_trials(dataset, self.experience, self.ahead)

    def _take_trials(self, dataset: Dataset, experience: Experience, policy: Snapshot) -> None:
        steps = self.learner.steps
        assert steps - policy.version <= self.config.staleness
        self.progress.round += 1
        trials, digest = experience.take_trials(dataset, policy, self.progress.round)
        self.progress.collections.append(summary(policy, steps, self.progress.round, trials, digest))
        self.ahead = None
        self.data.replace_trials(trials)
        self._checkpoint()

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.model, self.learner.policy.to_weights(), self.learner.steps)

    def _temperature(self) -> float:
        """0 until one behaviour for all hypotheses works (or time is up), then up to 1, geometrically."""
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
        if self.experience is None or self.recorded is not None:
            return {}
        informed = self.progress.ramp_start is None and self.experiment.model.n_hypotheses > 1
        return self.experience.success(self._snapshot(), self._validation, informed)

    # -- the ends ---------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        def write(path: Path) -> None:
            checkpoint.save(path, self.learner, self.generator, self.progress, self.ahead)

        self.keeper.save(write if self.group.rank == 0 else None)

    def _resume(self, stored: checkpoint.Stored, dataset: Dataset) -> None:
        self.progress, self.ahead = stored.restore(self.learner, self.generator, self.model)
        if self.experience is None:
            return
        if self.progress.round and (trials := self.experience.earlier_trials(self.progress.round)):
            self.data.replace_trials(trials)
        if self.ahead is not None:
            self.experience.begin_trials(dataset, self.ahead, self.progress.round + 1)

    def _bundle(self, dataset: Dataset, place: Mapping[str, Any]) -> Bundle:
        provenance = {
            "experiment": self.experiment.to_json(),
            "recorded": self.recorded is not None,
            "n_tasks": self.recorded.n_tasks if self.recorded else len(dataset.tasks),
            "history": self.progress.history,
            "collections": self.progress.collections,
            "wall_s": round(time.monotonic() - self.started, 1),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {
                "watch-try-learn": __version__,
                "python": platform.python_version(),
                "torch": version("torch"),
            },
        }
        if place:
            provenance["place"] = {"learners": self.group.size, **place}
        return Bundle(
            name=self.experiment.model_name,
            spec=dataset.spec,
            model=self.model.model_dump(mode="json"),
            weights=self.learner.policy.to_weights(),
            provenance=provenance,
        )

    def _save(self, bundle: Bundle) -> None:
        bundle.save(self.store.folder / "bundle")
        for name in ("bundle", "tensorboard"):
            self.store.publish(name)


def _tensorboard(out: Path) -> Any:
    """A TensorBoard writer for the run; imported here because it is slow to import."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))
