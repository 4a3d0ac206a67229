"""Floors under a policy that tries: its own training skills, one for all tasks, or one after the other.

A skill is what a trained policy does under the mean latent of the training tasks of one type, or of one cluster of
latents where the family names no types. Nothing is learnt: only what is beyond these floors can be owed to trying.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import Field

from metalearn.config import Config
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array
from metalearn.evaluation.manifest import default_manifest
from metalearn.evaluation.protocol import Protocol, adapted, succeeded
from metalearn.model.inference import HypothesisActor, Inference
from metalearn.tasks.family import Family, TaskId, TypedFamily

AT_ONCE = 1024
"""Contexts of training tasks that are encoded at a time."""


class SkillsConfig(Config):
    """How skills are found and chosen."""

    policy: str = Field(description="id of the bundle whose skills they are")
    n_clusters: int = Field(16, ge=1, description="of latents, where the family names no types of task")
    validation_tasks: int = Field(64, ge=1, description="on which the constant skill is chosen")


@dataclass(frozen=True, eq=False)
class Skills:
    """c skills of a policy: a latent, and the hypothesis that is most probable in its training tasks."""

    latents: Float32[np.ndarray, "c d"]
    hypotheses: Int64[np.ndarray, " c"]

    def actor(self, inference: Inference, chosen: Int64[np.ndarray, " b"]) -> HypothesisActor:
        """Act in b tasks by the chosen skill of each."""
        return HypothesisActor(inference, self.latents[chosen], self.hypotheses[chosen])

    def to_weights(self) -> dict[str, Array]:
        """The arrays, for a file."""
        return {"latents": self.latents, "hypotheses": self.hypotheses}

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array]) -> "Skills":
        """Read what `to_weights` wrote. Raises KeyError."""
        return cls(weights["latents"], weights["hypotheses"])


def find_skills(inference: Inference, family: Family, dataset: Dataset, n_clusters: int, seed: int) -> Skills:
    """The skills in the demonstrations of training tasks: one for each type, else for each cluster of latents."""
    contexts = [Context(demos=record.demos[:1]) for record in dataset.tasks]
    beliefs = [
        belief
        for start in range(0, len(contexts), AT_ONCE)
        for belief in inference.infer_belief(contexts[start : start + AT_ONCE])
    ]
    latents = np.stack([belief.latent for belief in beliefs])
    probabilities = np.stack([belief.probabilities for belief in beliefs])
    if isinstance(family, TypedFamily):
        types = [family.task_type(TaskId.parse(record.task).index) for record in dataset.tasks]
        labels = np.unique(types, return_inverse=True)[1]
    else:
        labels = clusters_of(latents, n_clusters, seed)
    members = [labels == label for label in range(labels.max() + 1)]
    return Skills(
        np.stack([latents[rows].mean(0) for rows in members]).astype(np.float32),
        np.array([probabilities[rows].mean(0).argmax() for rows in members], np.int64),
    )


def clusters_of(latents: Float32[np.ndarray, "n d"], n_clusters: int, seed: int) -> Int64[np.ndarray, " n"]:
    """Number each latent by its cluster, 0, 1, ... without gaps (k-means, Lloyd 1957; k-means++ to begin with)."""
    from scipy.cluster.vq import kmeans2

    n_clusters = min(n_clusters, len(np.unique(latents, axis=0)))
    rng = np.random.default_rng(seed)
    _, labels = kmeans2(latents.astype(np.float64), n_clusters, minit="++", missing="warn", rng=rng)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


class ConstantSkill:
    """Always the same skill, whatever is shown or tried."""

    def __init__(self, inference: Inference, skills: Skills, chosen: int) -> None:
        self._inference, self._skills, self._chosen = inference, skills, chosen

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> HypothesisActor:
        """The one skill in every task; nothing is drawn."""
        return self._skills.actor(self._inference, np.full(len(contexts), self._chosen))


def best_skill(inference: Inference, family: Family, skills: Skills, n_tasks: int, seed: int) -> int:
    """The skill that succeeds in most of some validation tasks, without any context; the first of equals."""
    n_tasks = min(n_tasks, len(family.splits["validation"]))
    frozen = default_manifest(family, demos=0, trials=0)
    manifest = frozen.model_copy(update={"split": "validation", "n_tasks": n_tasks, "seed": seed})
    protocol = Protocol.of(family, manifest)
    contexts = protocol.demonstrations()
    players = [adapted(ConstantSkill(inference, skills, skill)) for skill in range(len(skills.latents))]
    return int(np.argmax([succeeded(protocol.attempt(player, contexts, 0)).sum() for player in players]))


class SkillSearch:
    """Win-stay, lose-shift over skills, the nearest to the demonstrations first (Robbins 1952)."""

    def __init__(self, inference: Inference, skills: Skills) -> None:
        self._inference, self._skills = inference, skills

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> HypothesisActor:
        """The next skill after each failed trial, and the same again after one that succeeded; nothing is drawn."""
        shown = self._inference.infer_belief([Context(demos=context.demos) for context in contexts])
        latents = np.stack([belief.latent for belief in shown])
        distances = np.linalg.norm(latents[:, None] - self._skills.latents, axis=-1)
        order = distances.argsort(1, kind="stable")
        failures = np.array([sum(not trial.success for trial in context.trials) for context in contexts])
        chosen = order[np.arange(len(contexts)), failures % order.shape[1]]
        return self._skills.actor(self._inference, chosen)
