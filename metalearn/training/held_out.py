"""Recorded tasks that are not trained on, and how likely a policy makes what was done in them.

The split is decided by the names of tasks and a seed alone. Does not know the training loop, nor environments:
whether what a policy does is any good it can only tell from what others did (`off_policy`).
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from metalearn.config import ModelConfig
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.model.batchnorm import evaluating
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.batches import KnownFrom, MetaBatch, TrainingSet
from metalearn.training.off_policy import OffPolicyEvidence, estimate, recorded_likelihood
from metalearn.training.ways import GoalReader

SHARE = 0.1
FEWEST, MOST = 2, 256
ENOUGH_TASKS = 10
"""Of fewer tasks none is given up: episodes of them are."""
_ROWS = 64


@dataclass(frozen=True)
class Split:
    """Recorded data in two: what is trained on, and what is not.

    Attributes:
        training: of at least two tasks.
        held_out: what the policy never sees; None where nothing can be spared.
        unit: what was held out: whole `tasks`, `episodes` of tasks that are trained on too, or `nothing`.
        why: the sentence for reports.
    """

    training: Dataset
    held_out: Dataset | None
    unit: Literal["tasks", "episodes", "nothing"]
    why: str

    def without_held_out(self, window: Dataset) -> Dataset:
        """The tasks of another window of the same recording, but for those that are held out."""
        if self.unit != "tasks" or self.held_out is None:
            return window
        aside = {record.task for record in self.held_out.tasks}
        return replace(window, tasks=tuple(record for record in window.tasks if record.task not in aside))

    def to_json(self) -> dict[str, Any]:
        """What a bundle says of it."""
        n_episodes = sum(len(record.experts) for record in self.held_out.tasks) if self.held_out else 0
        n_tasks = len(self.held_out.tasks) if self.held_out else 0
        return {"unit": self.unit, "tasks": n_tasks, "episodes": n_episodes, "why": self.why}


def split(dataset: Dataset, seed: int) -> Split:
    """A tenth of the tasks, 2 to 256 of them, apart from the others; of fewer than ten tasks, of their episodes.

    The order of the tasks changes nothing, and a task that is added moves few others.
    """
    records = dataset.tasks
    if len(records) >= ENOUGH_TASKS:
        n_aside = min(MOST, max(FEWEST, round(SHARE * len(records))))
        aside = {record.task for record in sorted(records, key=lambda record: _place(seed, record.task))[:n_aside]}
        why = f"{n_aside} of {len(records)} recorded tasks are not trained on"
        parts = (tuple(r for r in records if (r.task in aside) is wanted) for wanted in (False, True))
        training, held_out = (replace(dataset, tasks=part) for part in parts)
        return Split(training, held_out, "tasks", why)
    pairs = [_split_episodes(record, seed) for record in records]
    spared = tuple(aside for _, aside in pairs if aside is not None)
    if not spared:
        why = (
            f"nothing is held out: of {len(records)} tasks (fewer than {ENOUGH_TASKS}) none has two episodes to imitate"
        )
        return Split(dataset, None, "nothing", why)
    n_aside = sum(len(record.experts) for record in spared)
    why = f"{n_aside} episodes of {len(spared)} of the {len(records)} tasks are not trained on; their tasks are"
    training = replace(dataset, tasks=tuple(kept for kept, _ in pairs))
    return Split(training, replace(dataset, tasks=spared), "episodes", why)


def _split_episodes(record: TaskRecord, seed: int) -> tuple[TaskRecord, TaskRecord | None]:
    """The task with most of its episodes to imitate, and with the others: at least one, if one is left to train on."""
    n = len(record.experts)
    if n < 2:
        return record, None
    order = sorted(range(n), key=lambda i: _place(seed, f"{record.task}/{i}"))
    aside = set(order[: max(1, round(SHARE * n))])

    def part(wanted: bool) -> TaskRecord:
        rows = [i for i in range(n) if (i in aside) is wanted]
        labels = tuple(record.labels[i] for i in rows) if record.labels else ()
        return replace(record, experts=tuple(record.experts[i] for i in rows), labels=labels)

    return part(False), part(True)


def _place(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|{name}".encode()).digest()


@dataclass(frozen=True)
class Measured:
    """A mean over n tasks, with its standard error; None of one task."""

    mean: float
    standard_error: float | None
    n_tasks: int


@dataclass(frozen=True)
class HeldOutScores:
    """How likely a policy makes the actions of episodes that it was not trained on, in nats per action.

    Attributes:
        likelihood: by what the context held: `demos`, `expert` (demos and another episode of the expert), `trials`
            (demos and the recorded trials), `asks` (what the episode was an answer to, and no demos). A context that no
            task has is absent.
        gain: of `expert` and `trials`, how much likelier than with the demos alone, task by task.
        n_actions: of an episode, on average.
        off_policy: what the recorded outcomes say; None where no episode has one, or observations are pictures.
    """

    likelihood: Mapping[str, Measured]
    gain: Mapping[str, Measured]
    n_actions: float
    off_policy: OffPolicyEvidence | None = None

    @property
    def score(self) -> float:
        """One number to stop by, higher is better: the mean over the contexts."""
        return sum(one.mean for one in self.likelihood.values()) / len(self.likelihood)

    def unexplained(self, n_hypotheses: int) -> float:
        """Nats that an episode of the expert tells of another beyond which of the hypotheses it is of, at least 0."""
        gain = self.gain.get("expert")
        return max(0.0, gain.mean * self.n_actions - math.log(n_hypotheses)) if gain else 0.0

    def to_json(self) -> dict[str, Any]:
        """What a bundle's report says of it."""
        return {
            "unit": "nats per action",
            "likelihood": {name: asdict(one) for name, one in self.likelihood.items()},
            "gain": {name: asdict(one) for name, one in self.gain.items()},
            "off_policy": None if self.off_policy is None else asdict(self.off_policy),
        }


class HeldOut:
    """Held-out tasks, ready to be asked about again and again.

    Args:
        dataset: of `Split.held_out`.
        config: of the policy, with the units that it was trained with.
        goals: reads what was achieved; None where nobody says.
    """

    def __init__(self, dataset: Dataset, config: ModelConfig, goals: GoalReader | None = None) -> None:
        self._targets = TrainingSet(dataset, config, goals)
        self.n_tasks = self._targets.n_tasks
        self._scored: tuple[TrainingSet, Tensor, Tensor] | None = None
        if records := _with_outcomes(dataset):
            scored = TrainingSet(replace(dataset, tasks=records), config)
            steps = [
                (seen[there], done[there])
                for _, batch in scored.every_target("demos", _ROWS)
                for seen, done, there in zip(batch.observations, batch.actions, batch.mask, strict=True)
            ]
            recorded = recorded_likelihood(steps, dataset.spec.discrete)
            if recorded is not None:
                returns = [_return(episode) for record in records for episode in record.experts]
                self._scored = (scored, recorded, torch.tensor(returns))

    @torch.no_grad()
    def scores(self, policy: ConditionalPolicy) -> HeldOutScores:
        """How likely the policy makes what was done. It is left in the mode that it was in."""
        with evaluating(policy):
            per_task = {name: self._likelihood(policy, name) for name in get_args(KnownFrom)}
            evidence = self._evidence(policy)
        likelihood = {name: _measured(values) for name, values in per_task.items() if not values.isnan().all()}
        compared = likelihood.keys() & {"expert", "trials"} if "demos" in likelihood else ()
        gains = {name: per_task[name] - per_task["demos"] for name in sorted(compared)}
        measured = {name: _measured(values) for name, values in gains.items()}
        return HeldOutScores(likelihood, measured, self._targets.n_actions, evidence)

    def _likelihood(self, policy: ConditionalPolicy, context: KnownFrom) -> Float[Tensor, " n"]:
        """Of each task, per action; NaN for a task without such a context."""
        likelihood, n_steps = torch.zeros(self.n_tasks), torch.zeros(self.n_tasks)
        for task, batch in self._targets.every_target(context, _ROWS):
            likelihood.index_add_(0, task, episode_likelihood(policy, batch))
            n_steps.index_add_(0, task, batch.mask.sum(1).float())
        return likelihood / torch.where(n_steps > 0, n_steps, torch.nan)

    def _evidence(self, policy: ConditionalPolicy) -> OffPolicyEvidence | None:
        if self._scored is None:
            return None
        scored, recorded, returns = self._scored
        own = [episode_likelihood(policy, batch) for _, batch in scored.every_target("demos", _ROWS)]
        return estimate(torch.cat(own), recorded, returns)


def _with_outcomes(dataset: Dataset) -> tuple[TaskRecord, ...]:
    """The tasks with all their episodes that have an outcome as ones to imitate; all by reward, or all by success."""
    rewarded = any(e.rewards is not None for r in dataset.tasks for e in (*r.experts, *r.trials))
    found = []
    for record in dataset.tasks:
        episodes = tuple(
            episode
            for episode in (*record.experts, *record.trials)
            if episode.actions is not None and (episode.rewards if rewarded else episode.success) is not None
        )
        if episodes:
            found.append(replace(record, experts=episodes, labels=(), trials=()))
    return tuple(found)


def _return(episode: Episode) -> float:
    return float(bool(episode.success)) if episode.rewards is None else float(episode.rewards.sum())


def _measured(values: Float[Tensor, " n"]) -> Measured:
    """Of the tasks that have a number."""
    known = values[~values.isnan()]
    error = float(known.std() / math.sqrt(len(known))) if len(known) > 1 else None
    return Measured(float(known.mean()), error, len(known))


def episode_likelihood(policy: ConditionalPolicy, batch: MetaBatch) -> Float[Tensor, " b"]:
    """log sum_z p(z | context) p(actions | observations, z, context): a hypothesis explains an episode, not a step."""
    known, log_prior = _under_each(policy, batch)
    whole = torch.logsumexp(known + log_prior, -1)
    if not policy.discrete:
        whole = whole - 0.5 * math.log(2 * math.pi) * policy.log_sigma.numel() * batch.mask.sum(-1)
    return whole.float().cpu()


@torch.no_grad()
def hypothesis_information(policy: ConditionalPolicy, batch: MetaBatch) -> float:
    """Nats that an episode tells of its hypothesis where no trial has: 0 if all are alike."""
    with evaluating(policy):
        known, log_prior = _under_each(policy, batch)
    log_posterior = (known + log_prior).log_softmax(-1)
    divergence = (log_posterior.exp() * (log_posterior - log_prior)).sum(-1)
    untried = ~batch.trials.mask.any(1).to(divergence.device)
    return float(divergence[untried].mean()) if untried.any() else 0.0


def _under_each(policy: ConditionalPolicy, batch: MetaBatch) -> tuple[Float[Tensor, "b z"], Float[Tensor, "b z"]]:
    """log p(actions | observations, z, context) of each episode, and log p(z | context)."""
    batch = batch.to(policy.log_sigma.device)
    latent, log_prior = policy.infer_belief(batch.demos, batch.trials, batch.asks)
    steps = batch.observations, batch.actions, batch.mask.float(), batch.effects
    return policy.log_likelihood(latent, *steps), log_prior
