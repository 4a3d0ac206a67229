"""Remembering which behaviours of a trained policy solve which tasks, so that what was tried tells what to try next.

The policy stays as it is. Tasks are some that it was not trained on: in its own it knows some answers by heart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.model.search import Search
from metalearn.tasks.family import make_vec
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds, rollout
from metalearn.training.collect import (
    STREAM_EXPLORATION,
    DemonstrationChunk,
    Snapshot,
    demonstrate_chunk,
    one_thread,
)

TRUSTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""How much p(z | context) may count for which of the remembered tasks a new one is like."""


@dataclass(frozen=True, eq=False)
class Explored:
    """One task: p(z | its demonstrations), and whether an attempt under each of 2 z behaviours succeeded (or None)."""

    probabilities: Array
    solved: tuple[bool | None, ...]


def explore_chunk(policy: Snapshot, chunk: DemonstrationChunk) -> list[Explored]:
    """Let the policy attempt each task under each behaviour: as was demonstrated, then as if nothing had been."""
    family = find_family(chunk.family)
    inference = Inference(ConditionalPolicy.from_weights(policy.model, family.spec, policy.weights), family.spec)
    records = demonstrate_chunk(chunk)
    outcomes: list[list[bool | None]] = []
    with one_thread():
        shown = inference.infer_belief([Context(record.demos) for record in records])
        not_shown = inference.infer_belief([Context()]) * len(records)
        env = make_vec(family, chunk.indices, "trial")
        for beliefs in (shown, not_shown):
            for z in range(policy.model.n_hypotheses):
                seeds = episode_seeds(chunk.indices, STREAM_EXPLORATION + 100 * chunk.seed, len(outcomes))
                run = rollout(env, inference.act_under(beliefs, z), seeds, relabel=False)
                outcomes.append([episode.success for episode in run.episodes])
        env.close()
    return [
        Explored(belief.probabilities, solved)
        for belief, solved in zip(shown, zip(*outcomes, strict=True), strict=True)
    ]


def with_search(policy: Snapshot, spec: Spec, explored: Sequence[Explored]) -> Snapshot | None:
    """The same policy, which searches; None where all attempts went alike, or nobody says how.

    Args:
        policy: with several hypotheses, and no search yet.
        spec: of its tasks.
        explored: what its behaviours solved.
    """
    outcomes = [outcome for task in explored for outcome in task.solved]
    if None in outcomes or len(set(outcomes)) < 2:
        return None
    inference = Inference(ConditionalPolicy.from_weights(policy.model, spec, policy.weights), spec)
    nothing_shown = torch.from_numpy(inference.infer_belief([Context()])[0].latent)
    search = Search(len(explored), policy.model.n_hypotheses, len(nothing_shown))
    search.get_buffer("solved").copy_(torch.tensor([task.solved for task in explored]))
    search.get_buffer("nothing_shown").copy_(nothing_shown)
    probabilities = torch.from_numpy(np.stack([task.probabilities for task in explored]))
    search.get_buffer("trust").fill_(_trust(search, probabilities))
    weights = {f"search.{name}": value.numpy().copy() for name, value in search.state_dict().items()}
    model = policy.model.model_copy(update={"search": len(explored)})
    return Snapshot(model, policy.weights | weights, policy.version)


def _trust(search: Search, probabilities: Float[Tensor, "n z"]) -> float:
    """Which of `TRUSTS` foretells best what solved each remembered task, from all others."""
    solved, solves, z = search.get_buffer("solved"), search.solves, search.n_hypotheses
    agrees = search.agreement(probabilities)
    others = torch.zeros_like(agrees).fill_diagonal_(-torch.inf)

    def surprise(trust: float) -> float:
        foretold = (trust * agrees + others).softmax(-1) @ solves
        return float(functional.binary_cross_entropy(foretold[:, :z], solved[:, :z]))

    return min(TRUSTS, key=surprise)
