"""Meta-training: collect demonstrations, warm up, then collect own trials and learn from them in rounds.

Learns in this process; the collector decides where episodes are collected. Everything that decides the
result is in the experiment, so a stopped run resumes to the same weights.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard

import torch

from metalearn.bundle import Bundle
from metalearn.config import Experiment, UnitsConfig
from metalearn.data.asks import AskOffer
from metalearn.data.dataset import FEWEST_TASKS, Dataset
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.data.typical import typical
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.family import tasks_of
from metalearn.tasks.registry import find_family
from metalearn.training import checkpoint
from metalearn.training.asking import goal_reader, offers_of
from metalearn.training.batches import TrainingSet
from metalearn.training.best_look import BestLook, Look
from metalearn.training.checkpoint import Progress
from metalearn.training.collect import Collector, SerialCollector, Snapshot
from metalearn.training.decisions import Decision, decide
from metalearn.training.ends import (
    is_still_better,
    keep_one_hypothesis,
    keep_useful,
    made_with,
    tensorboard,
    units_of,
    without_memory,
)
from metalearn.training.episode_source import EpisodeSource, summary
from metalearn.training.events import Event, Stopped, ignore_event
from metalearn.training.first_decisions import decide_first
from metalearn.training.group import Group, SingleProcess
from metalearn.training.held_out import HeldOut, HeldOutScores, Split, hypothesis_information, split
from metalearn.training.learner import CPU, Compute, Learner
from metalearn.training.looks import LOOKS, Looks
from metalearn.training.minutes import AFTER_LEARNING
from metalearn.training.recorded import InMemoryData, RecordedData
from metalearn.training.run_store import CheckpointManager, FileCheckpointManager, RunStore
from metalearn.training.schedule import Schedule, make_schedule, rates_of_attempts
from metalearn.training.searching import with_search

__all__ = ["Event", "Stopped", "check_trainable", "train"]


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
        spec, n_tasks = family.spec, experiment.data.n_tasks
        if experiment.decides_tasks:
            n_tasks = min(n_tasks, len(family.splits["train"]))
        tasks_of(family, "train", n_tasks, experiment.seed)
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
    schedule: Schedule

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
        self.claimed, self.decisions = experiment, tuple[Decision, ...]()
        if experiment.training.automatic and self.family is not None:
            decided = decide_first(experiment, self.family)
            experiment, self.decisions = decided.experiment, decided.made
            self.experiment, self.config = experiment, experiment.training
        check_trainable(experiment, recorded, group.size)
        self.progress = Progress()
        self.learning_since: tuple[float, int] | None = None
        every = self.config.check_steps
        if self.config.steps is not None:  # of few steps a look every so many would come too late
            every = min(every, max(1, self.config.steps // LOOKS))
        self.looks = Looks(every, self.config.minutes)
        self.learnt_s: float | None = None
        self._before_s, self._losses = 0.0, list[float]()
        self.split: Split | None = None
        self.scores: HeldOutScores | None = None
        self.best = BestLook()
        self.collecting: Snapshot | None = None
        self._choices, self._seen = 0, dict[tuple[int, int, str], Array]()
        store.folder.mkdir(parents=True, exist_ok=True)

    def run(self, collector: Collector, cluster: Mapping[str, Any]) -> Bundle:
        digest = self.recorded.digest if self.recorded else InMemoryData.NOTHING
        self.group.run_on_rank_zero(lambda: self.store.claim(self.claimed, digest))
        self.source: EpisodeSource | None = None
        if self.family is not None:
            self.source = EpisodeSource(
                self.experiment, self.family, collector, self.store, self.group, self._tell, self.stopping
            )
        path = self.checkpoints.latest()
        stored = checkpoint.read(path) if path else None
        dataset = self._apart(self._first_data(stored.steps if stored else 0))
        self._decide(dataset)
        longest = max(1, self.config.trials_per_task, self.recorded.max_trials if self.recorded else 0)
        units = UnitsConfig.model_validate(stored.progress.units) if stored else units_of(dataset)
        self.goals = goal_reader(self.family, dataset.spec)
        asks, encoder = self.experiment.model.asks, self.experiment.model.sentence_encoder
        offers = (
            tuple(AskOffer.of(one) for one in stored.progress.asks)
            if stored
            else offers_of(asks, dataset, self.goals, encoder, self.experiment.seed)
        )
        self.progress.units, self.progress.asks = units.model_dump(mode="json"), [asdict(one) for one in offers]
        self.model = self.experiment.model.model_copy(
            update={"max_trials": longest, "units": units, "ask_offers": offers}
        )
        torch.manual_seed(self.experiment.seed)
        policy = ConditionalPolicy(self.model, dataset.spec)
        self.data = TrainingSet(dataset, self.model, self.goals, own_trials=self._tries)
        policy.observations.fit(*self.data.observations())
        if policy.dynamics:
            policy.dynamics.fit(self.data.effects(), policy.observations.unit)
        if policy.memory:
            policy.memory.fit(self.data.changes())
        self.learner = Learner(policy, self.config, self.compute, self.group)
        self.generator = torch.Generator().manual_seed(self.experiment.seed)
        held_out = self.source is not None and self.recorded is None
        attempts = 1 + self.config.trials_per_task
        self._validation = self.source.validation(attempts) if held_out and self.source else []
        self._n_validation = self.group.run_on_rank_zero(lambda: len(self._validation))
        self.held_out = self._unseen(dataset.spec)
        self.schedule = self._schedule({})
        if stored:
            self._resume(stored, dataset)
        with tensorboard(self.store.folder) if self.group.rank == 0 else nullcontext() as self.writer:
            self._learn(dataset)
        bundle = self._finish(dataset, {"learners": self.group.size, **cluster} if cluster else {})
        self.group.run_on_rank_zero(lambda: self._save(bundle))
        return bundle

    def _apart(self, dataset: Dataset) -> Dataset:
        """What is learnt from: of recordings all but what is held out, to see when to stop."""
        if not self.recorded or not self.config.automatic:
            return dataset
        self.split = split(dataset, self.experiment.seed)
        return self.split.training

    def _unseen(self, spec: Spec) -> HeldOut | None:
        """What the likelihood is measured on, on rank 0: held-out recordings, or the expert in validation tasks."""
        if self.group.rank != 0 or not self.config.automatic:
            return None
        apart = self.split.held_out if self.split else None
        if apart is None and self._validation:
            apart = Dataset(spec, tuple(self._validation))
        return None if apart is None else HeldOut(apart, self.model, self.goals)

    def _decide(self, dataset: Dataset) -> None:
        """Fill in what nobody set, where a training decides for itself."""
        if not self.config.automatic:
            return
        decided = decide(self.experiment, dataset, own_trials=self.source is not None and self.recorded is None)
        self.experiment, self.decisions = decided.experiment, (*self.decisions, *decided.made)
        self.config = self.experiment.training

    def _tell(self, phase: str, done: int, total: int) -> None:
        self.listen(Event(phase, done, total, ends_in_s=self._left()))

    def _first_data(self, step: int) -> Dataset:
        if self.recorded:
            dataset = self.recorded.at(step)
            assert dataset is not None
            return dataset
        assert self.source is not None
        return self.source.demonstrations()

    # -- the loop ---------------------------------------------------------------------------------------------

    def _learn(self, dataset: Dataset) -> None:
        learner, schedule = self.learner, self.schedule
        while not schedule.ended(learner.steps):
            self._renew(dataset)
            step = learner.steps
            tried = schedule.round > 0 or (self.config.automatic and self._recorded_trials)
            batch = self.data.draw(self.config, tried, self.generator)
            # Of nothing but empty contexts the variance is 0: running statistics would be divided by it.
            frozen, clear = schedule.batchnorm_frozen(step) or not self.data.shows, schedule.clear
            foretell = schedule.foretells(step) and not tried
            part = learner.step(
                batch, schedule.temperature(step), schedule.rate(step), frozen=frozen, clear=clear, foretell=foretell
            )
            loss, asked, due = self.group.total(part, *self._asks_of_rank_zero())
            self._report(loss, look=bool(due))
            if asked:
                self._checkpoint()
                total = schedule.total(learner.steps, self._elapsed())
                raise Stopped(f"stopped after {learner.steps} of {total} steps; the same command resumes")
        self._checkpoint()

    def _asks_of_rank_zero(self) -> tuple[float, float]:
        """Whether the run is to stop, and whether it is time to look at validation tasks; zeros on other ranks."""
        if self.group.rank != 0:
            return 0.0, 0.0
        due = self.looks.due(self.learner.steps, time.monotonic(), again=self.schedule.open_before)
        return float(self.stopping()), float(due)

    def _renew(self, dataset: Dataset) -> None:
        """Update the training data of this step: the window of recorded episodes, or own trials.

        Trials of a round are due when its steps begin. They are begun `staleness` steps earlier, with the policy
        of that moment, so that what is learnt depends on neither the number nor the speed of the actors.
        """
        steps, due = self.learner.steps, self.schedule.round_due(self.learner.steps)
        if self.source is not None:
            self.source.advance()
        if self.recorded and (window := self.recorded.at(steps)):
            kept = self.split.without_held_out(window) if self.split else window
            self.data = TrainingSet(kept, self.model, self.goals, own_trials=self._tries)
        if due is None or steps < due - self.config.staleness:
            return
        if self.source is None or self.config.trials_per_task == 0:
            if steps >= due:
                self.schedule.begin_round(steps)
            return
        if self.collecting is None:
            self.collecting = self._snapshot()
            self._begin_trials(dataset, self.source, self.collecting)
        if steps >= due:
            self._take_trials(dataset, self.source, self.collecting)

    def _begin_trials(self, dataset: Dataset, source: EpisodeSource, policy: Snapshot) -> None:
        number = self.schedule.round + 1
        asks = self.data.asks_to_try([self.experiment.seed, number])
        source.begin_trials(dataset, policy, number, self.config.trials_per_task + 1, asks)

    def _take_trials(self, dataset: Dataset, source: EpisodeSource, policy: Snapshot) -> None:
        steps = self.learner.steps
        assert steps - policy.version <= self.config.staleness
        self.schedule.begin_round(steps, self._hypothesis_information())
        trials, digest = source.take_trials(dataset, policy, self.schedule.round)
        self.progress.collections.append(summary(policy, steps, self.schedule.round, trials, digest))
        self.collecting = None
        if self.schedule.round == 1:
            self.best = BestLook()  # weights that have learnt from no trial are none to go back to
        self.data.replace_trials(trials, source.without_demos(len(trials)))
        self._checkpoint()

    def _hypothesis_information(self) -> float:
        """What an episode tells of its hypothesis, in one batch, before any own trials are learnt from."""
        if not self.config.automatic or self.schedule.round:  # nobody asks
            return math.inf

        def measure() -> float:
            generator = torch.Generator().manual_seed(self.experiment.seed)
            return hypothesis_information(self.learner.policy, self.data.draw(self.config, False, generator))

        return self.group.run_on_rank_zero(measure)

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.model, self.learner.averaged.to_weights(), self.learner.steps)

    def _schedule(self, state: dict[str, Any]) -> Schedule:
        return make_schedule(
            self.config,
            competing=self.experiment.model.n_hypotheses > 1,
            n_validation=self._n_validation,
            rounds=self._tries,
            elapsed_s=self.group.run_on_rank_zero(self._elapsed),
            state=state,
        )

    @property
    def _tries(self) -> bool:
        """Whether own trials are collected: in recorded tasks only where the phases are of given lengths."""
        known = self.recorded is None or not self.config.automatic
        return self.source is not None and known and self.config.trials_per_task > 0

    @property
    def _recorded_trials(self) -> bool:
        """Whether any recorded task has a trial."""
        return self.recorded is not None and self.recorded.max_trials > 0

    def _report(self, loss: float, *, look: bool) -> None:
        steps, total = self.learner.steps, self.schedule.total(self.learner.steps, self._elapsed())
        self._losses.append(loss)
        if not look and not self.schedule.ended(steps):
            if steps % 10 == 0:
                self.listen(Event("train", steps, total, loss, ends_in_s=self._ends_in(steps, total)))
            return
        began, learnt, self._losses = time.monotonic(), -sum(self._losses) / len(self._losses), []
        seen = self._held_out_success()
        likelihood = self.group.run_on_rank_zero(self._likelihood)
        elapsed = self.group.run_on_rank_zero(self._elapsed)
        self.progress.history.append({"step": steps, "loss": loss, **likelihood, **seen})
        # While hypotheses foretell, the loss is of another kind.
        known = likelihood or ({} if self.schedule.foretells(steps) else {"likelihood": learnt})
        over = self.schedule.look(steps, {**known, **seen}, elapsed)
        self.looks.took(steps, began, time.monotonic())
        if self.config.automatic:
            self.best.note(steps, seen, likelihood, self.learner.averaged.to_weights)
            if over:
                self._begin_from_the_best()
        if self.writer is not None:
            for name, value in {"loss": loss, "temperature": self.schedule.temperature(steps), **seen}.items():
                self.writer.add_scalar(name, value, steps)
        success = rates_of_attempts(seen)
        total = self.schedule.total(steps, elapsed)
        self.listen(Event("train", steps, total, loss, success, self._ends_in(steps, total)))
        self._checkpoint()

    def _likelihood(self) -> dict[str, float]:
        """How likely the policy makes what was done in tasks that it does not learn from; nothing without any."""
        if self.held_out is None:
            return {}
        self.scores = self.held_out.scores(self.learner.averaged)
        unexplained = self.scores.unexplained(self.model.n_hypotheses)
        return {"likelihood": self.scores.score, "unexplained": unexplained, **self._recorded_value(self.scores)}

    def _recorded_value(self, scores: HeldOutScores) -> dict[str, float]:
        """What recorded returns say of the policy, where nobody lets it act; nothing without enough evidence."""
        evidence = scores.off_policy if self.recorded else None
        if evidence is None or evidence.value is None or evidence.standard_error is None:
            return {}
        return {"value": evidence.value, "value_error": evidence.standard_error}

    def _elapsed(self) -> float:
        """Seconds that the run has taken, in this process and in those that it resumes."""
        return self._before_s + time.monotonic() - self.started

    def _ends_in(self, steps: int, total: int) -> float | None:
        """Seconds that the rest takes: the steps at the speed so far, and at most what may follow them."""
        if self.learning_since is None:
            self.learning_since = (time.monotonic(), steps)
            return None
        began, first = self.learning_since
        learning_s = (time.monotonic() - began) / max(1, steps - first) * (total - steps)
        return learning_s + AFTER_LEARNING * 60 * (self.config.minutes or 0)

    def _left(self) -> float | None:
        """Seconds until all minutes are over, or what follows the learning is; None where steps are given."""
        if self.config.minutes is None:
            return None
        elapsed, all_s = self._elapsed(), 60 * self.config.minutes
        ends_s = all_s if self.learnt_s is None else min(all_s, self.learnt_s + AFTER_LEARNING * all_s)
        return max(0.0, ends_s - elapsed)

    def _held_out_success(self) -> dict[str, float]:
        if self.source is None or self.recorded is not None:
            return {}
        informed = self.schedule.ramp_start is None and self.experiment.model.n_hypotheses > 1
        n_attempts = 1 + (self.config.trials_per_task if self.schedule.round else 1)
        return self.source.success(self._snapshot(), self._validation, max(2, n_attempts), informed)

    # -- the ends ---------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        self.progress.schedule = self.schedule.to_json()
        self.progress.elapsed_s, self.progress.best = self._elapsed(), self.best.to_json()

        def write(path: Path) -> None:
            best = self.best.best.weights if self.best.best else None
            checkpoint.save(path, self.learner, self.generator, self.progress, self.collecting, best)

        self.checkpoints.save(write if self.group.rank == 0 else None)

    def _resume(self, stored: checkpoint.Checkpoint, dataset: Dataset) -> None:
        self.progress, self.collecting = stored.restore(self.learner, self.generator, self.model)
        self.best = BestLook.from_json(self.progress.best, stored.best)
        self.schedule = self._schedule(self.progress.schedule)
        self._before_s = self.progress.elapsed_s
        if self.progress.history:  # the next look is as far from the last one as in a run that was not stopped
            now_s = time.monotonic()
            self.looks.took(int(self.progress.history[-1]["step"]), now_s, now_s)
        if self.source is None:
            return
        if self.schedule.round and (trials := self.source.earlier_trials(self.schedule.round)):
            self.data.replace_trials(trials, self.source.without_demos(len(trials)))
        if self.collecting is not None:
            self._begin_trials(dataset, self.source, self.collecting)

    def _finish(self, dataset: Dataset, cluster: Mapping[str, Any]) -> Bundle:
        """The bundle, of the best weights, with what is useful in validation tasks."""
        self.learnt_s = self._elapsed()
        policy = self._with_what_is_useful(self._of_the_best_weights(dataset.spec), dataset.spec)
        self.model, self.kept_step = policy.model, policy.version
        return Bundle(
            name=self.experiment.model_name,
            spec=dataset.spec,
            model=self.model.model_dump(mode="json"),
            weights=policy.weights,
            provenance=self._provenance(dataset) | ({"cluster": cluster} if cluster else {}),
        ).with_example(typical(record.demos[0] for record in dataset.tasks if record.demos))

    def _begin_from_the_best(self) -> None:
        """Go back to the weights of the best look, if since then trials have been learnt by heart."""
        earlier = self.best.surely_earlier(self._n_validation)
        if self._is_still_better(earlier):
            self.learner.go_back_to(earlier.weights)
        elif earlier is not None:
            self.best.best = self.best.last  # it was lucky

    def _of_the_best_weights(self, spec: Spec) -> Snapshot:
        """Those of the end, or of an earlier look, if they are better in attempts by which nothing was chosen, too."""
        if not self._is_still_better(earlier := self.best.earlier(self._n_validation)):
            return self._snapshot()
        if self.held_out is not None:
            self.scores = self.held_out.scores(ConditionalPolicy.from_weights(self.model, spec, earlier.weights))
        return Snapshot(self.model, earlier.weights, earlier.step)

    def _is_still_better(self, earlier: Look | None) -> TypeGuard[Look]:
        """Whether an earlier look, if there is a better one, is better than the weights of now in new attempts too."""
        if earlier is None or not earlier.rates:  # a likelihood has no luck
            return earlier is not None
        self._choices = len(self.progress.history)  # the same after a resume
        return is_still_better(Snapshot(self.model, earlier.weights, earlier.step), self._snapshot(), self._solved)

    def _solved(self, policy: Snapshot) -> Array:
        """How often a policy solves each validation task; each is seen once for a choice, and anew for the next one."""
        assert self.source is not None
        seen = self._choices, policy.version, policy.model.model_dump_json()
        if seen not in self._seen:
            n_attempts = 1 + self.config.trials_per_task
            self._seen[seen] = self.source.share_solved(policy, self._validation, n_attempts, self._choices)
        return self._seen[seen]

    def _with_what_is_useful(self, policy: Snapshot, spec: Spec) -> Snapshot:
        """A memory and a search only where validation tasks need them, and several hypotheses where they differ."""
        tries = self.config.automatic and bool(self._n_validation)
        made: list[Decision] = []
        if self.schedule.clear and self.schedule.ramp_start is None:
            policy, made = keep_one_hypothesis(policy)
        if tries:
            self._choices = len(self.progress.history) + 1
            chosen = {one.field for one in self.decisions}  # a memory that somebody set is kept
            remembering = policy if policy.model.memory and "model.memory" in chosen else None
            plain = without_memory(policy) if remembering else policy
            searching = self.group.run_on_rank_zero(lambda: self._with_search(plain, spec))
            policy, found = keep_useful(plain, searching, remembering, self._solved)
            made += found
        self.decisions = (*self.decisions, *made)
        return policy

    def _with_search(self, policy: Snapshot, spec: Spec) -> Snapshot | None:
        """The policy with a search, if enough further validation tasks can be attempted, and go differently.

        Where demonstrations leave nothing open they are imitated, and nothing else is tried. What is asked for says
        more than outcomes of attempts for which nothing was; and which behaviours solve a task is the same before and
        after a trial only if nothing of an episode is remembered but how it went.
        """
        model = policy.model
        comparable = not (model.asks or model.memory or model.dynamics_rank or self.schedule.clear)
        if self.source is None or self.config.trials_per_task == 0 or model.n_hypotheses == 1 or not comparable:
            return None
        explored = self.source.exploration(policy)
        return with_search(policy, spec, explored) if explored else None

    def _provenance(self, dataset: Dataset) -> dict[str, Any]:
        held_out = (self.split.to_json() if self.split else {}) | (self.scores.to_json() if self.scores else {})
        return {
            "experiment": self.experiment.model_dump(mode="json"),
            "decisions": [asdict(one) for one in self.decisions],
            "recorded": self.recorded is not None,
            "n_tasks": self.recorded.n_tasks if self.recorded else len(dataset.tasks),
            "held_out": held_out,
            "history": self.progress.history,
            "weights_after_steps": self.kept_step,
            "collections": self.progress.collections,
            "wall_s": round(time.monotonic() - self.started, 1),
            **made_with(),
        }

    def _save(self, bundle: Bundle) -> None:
        bundle.save(self.store.folder / "bundle")
        for name in ("bundle", "tensorboard"):
            self.store.publish(name)
