"""How probable each step of an episode is under each candidate, in closed form from the heads of its policy.

A candidate is a mixture of policies: a belief over hypotheses, or many beliefs. One hypothesis holds for an episode, so
that log p(episode) = log sum_z w_z prod_t p(a_t | o_t, z); what a step adds to it is the score of the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped

from metalearn.adapter import ActionHeads
from metalearn.data.episode import Array, Episode
from metalearn.data.units import Units
from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.candidates import Candidates
from metalearn.recognition.inverse import InverseModel

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class EpisodeEvidence:
    """log p of each of t steps given those before: under c candidates, and under w agents who are none of them.

    Those are the wide alternatives of the candidates, and chance. Densities are per unit of the raw action, so that
    models with other units compare. `chance` is log p of a step of an agent that acts at random.
    """

    steps: Float[np.ndarray, "c t"]
    others: Float[np.ndarray, "w t"]
    chance: float = 0.0


def evidence_of(
    heads: ActionHeads,
    candidates: Candidates,
    episode: Episode,
    units: Units,
    scale: EvidenceScale,
    inverse: InverseModel | None = None,
) -> EpisodeEvidence:
    """The evidence of one episode for the candidates of one model; see `evidence_of_each`."""
    return evidence_of_each(heads, candidates, [episode], units, scale, inverse)[0]


def evidence_of_each(
    heads: ActionHeads,
    candidates: Candidates,
    episodes: Sequence[Episode],
    units: Units,
    scale: EvidenceScale,
    inverse: InverseModel | None = None,
) -> list[EpisodeEvidence]:
    """The evidence of each of some episodes for the candidates of one model.

    Args:
        heads: of the policies of `candidates`, at the observations that the episodes act on, one after the other.
        candidates: whom to compare.
        episodes: fit the spec of `units`; without actions only if there is an `inverse`.
        units: of the model.
        scale: how residuals count.
        inverse: in place of the actions, for episodes without them.
    """
    told = [taken(episode, units, inverse) for episode in episodes]
    done, noise = np.concatenate([one for one, _ in told]), told[0][1]
    if any(episode.actions is None for episode in episodes):
        noise = np.concatenate([np.broadcast_to(one, actions.shape) for actions, one in told])
    narrow, wide = step_log_likelihoods(heads, done, noise, units, scale)
    random, starts = chance(units), np.cumsum([0, *map(len, episodes)])[:-1]
    near, far = predictive(narrow, candidates, starts), predictive(wide, candidates, starts)
    far = np.vstack([far, np.full((1, len(done)), random)])
    parts = (np.split(steps, starts[1:], axis=1) for steps in (near, far))
    return [EpisodeEvidence(steps, others, random) for steps, others in zip(*parts, strict=True)]


def taken(
    episode: Episode, units: Units, inverse: InverseModel | None
) -> tuple[Float32[np.ndarray, "t a"], Float32[np.ndarray, " a"]]:
    """The encoded actions of an episode, and the variance with which they are known."""
    if episode.actions is not None:
        return units.encode_actions(episode.actions), np.zeros(units.spec.action_size, np.float32)
    assert inverse is not None, "an episode without actions, and nothing that says what actions do"
    return inverse.predict(episode.observations, units.spec), inverse.variance


def step_log_likelihoods(
    heads: ActionHeads,
    done: Float32[np.ndarray, "*t a"],
    noise: Float32[np.ndarray, "*_n a"],
    units: Units,
    scale: EvidenceScale,
) -> tuple[Float[np.ndarray, "m t"], Float[np.ndarray, "m t"]]:
    """log p(action) of each step under m policies, and under their wide alternatives.

    Continuous: (1 - e) N(mean, s^2 + noise) + e N(mean, (width s)^2 + noise), and the latter alone; the mean is moved
    into the bounds, as the policy does when it acts. Choices: softmax(logits), and softmax(logits / width); `done` may
    be probabilities q of choices, and then it is log sum_a q_a p_a.
    """
    if units.spec.discrete:
        narrow = _log_choices(heads.out / scale.sigma, done, units)
        wide = _log_choices(heads.out / (scale.sigma * scale.width), done, units)
    else:
        low, high = units.bounds
        squared = np.square(done - np.clip(heads.out, low, high))
        variance = np.exp(2 * heads.log_sigma)[:, None] * scale.sigma**2
        volume = float(np.log(units.sizes[units.sizes > 0]).sum() * (done.shape[-1] if len(units.sizes) == 1 else 1))
        narrow = _log_normal(squared, variance + noise) - volume
        wide = _log_normal(squared, variance * scale.width**2 + noise) - volume
    e = min(max(scale.outliers, 1e-6), 0.5)
    return np.logaddexp(np.log1p(-e) + narrow, np.log(e) + wide), wide


def predictive(
    steps: Float[np.ndarray, "m t"], candidates: Candidates, starts: Sequence[int] | Int[np.ndarray, " e"] = (0,)
) -> Float[np.ndarray, "c t"]:
    """log p(step | steps before in the same episode) of each candidate, marginal over its policies.

    Episodes begin at the `starts`, the first of which is 0; a policy is drawn anew for each.
    """
    lengths = np.diff([*starts, steps.shape[1]])
    summed = np.cumsum(steps, axis=1)
    before = np.repeat(np.pad(summed, ((0, 0), (1, 0)))[:, starts], lengths, axis=1)
    so_far = summed - before + candidates.log_weights[:, None]
    owners = np.searchsorted(candidates.owner, np.arange(candidates.n))
    whole = np.logaddexp.reduceat(so_far, owners, axis=0)
    added: Array = np.diff(whole, axis=1, prepend=0.0)
    added[:, starts] = whole[:, starts]
    return added


def chance(units: Units) -> float:
    """log p of any action of an agent that acts at random: uniform in the action space.

    A component without bounds is normal, with the unit of the model as its deviation.
    """
    if units.spec.discrete:
        return -float(np.log(units.spec.action_choices).sum())
    space: Any = units.spec.action_space
    width = (space.high.astype(np.float64) - space.low).ravel()
    bounded = np.isfinite(width) & (width > 0)
    sizes = np.broadcast_to(units.sizes, width.shape)[~bounded & ~(width == 0)]
    return float(-np.log(width[bounded]).sum() - (np.log(np.maximum(sizes, 1e-12)) + 0.5 * (LOG_2PI + 1)).sum())


def _log_normal(squared: Float[np.ndarray, "m t a"], variance: Float[np.ndarray, "m _t a"]) -> Float[np.ndarray, "m t"]:
    return -0.5 * ((squared / variance).sum(-1) + (np.log(variance) + LOG_2PI).sum(-1))


def _log_choices(
    logits: Float[np.ndarray, "m t a"], done: Shaped[np.ndarray, "*t a"], units: Units
) -> Float[np.ndarray, "m t"]:
    cuts = np.cumsum(units.spec.action_choices)[:-1]
    added = np.zeros(logits.shape[:2])
    for part, q in zip(np.split(logits, cuts, -1), np.split(done, cuts, -1), strict=True):
        shifted = part - part.max(-1, keepdims=True)
        p = np.exp(shifted)
        added += np.log(np.maximum((p * q).sum(-1) / p.sum(-1), 1e-12))
    return added
