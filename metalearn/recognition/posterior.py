"""Who acted: the posterior over candidates and *none of these*, what each step says, and whether it is enough.

Pure functions of the evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.likelihood import EpisodeEvidence

NONE = "none"
"""The name of the answer that it was nobody of the candidates."""
LEAD_PRIOR, LARGEST_LEAD = 4, 5.0
STRONG = 20.0
"""Odds from which on evidence is strong (R. Kass and A. Raftery, "Bayes factors", JASA 90, 1995)."""


@dataclass(frozen=True, eq=False)
class Recognition:
    """What episodes say about who acted in them.

    Attributes:
        probabilities: `[c + 1]`, of the c candidates and then of *none of these*; they add up to 1.
        scores: for each episode `[c + 1, t]`: the nats by which a step is likelier under a candidate than under all
            on average, given the steps before.
        log_likelihoods: `[c]`, of all steps together, in nats per unit of the action.
        n_steps: steps seen, of all episodes.
        enough: whether the best answer is `STRONG` times as likely as the next one.
    """

    probabilities: Float[np.ndarray, " k"]
    scores: tuple[Float[np.ndarray, "k t"], ...]
    log_likelihoods: Float[np.ndarray, " c"]
    n_steps: int
    enough: bool

    @property
    def best(self) -> int:
        """The number of the most probable answer; c is *none of these*."""
        return int(self.probabilities.argmax())


def recognise(evidence: Sequence[EpisodeEvidence], scale: EvidenceScale) -> Recognition:
    """The posterior over who acted in all of these episodes; see `posterior`."""
    n_steps = sum(one.steps.shape[1] for one in evidence)
    candidates, others = (
        np.sum([rows.sum(1) for rows in some], axis=0)
        for some in ([one.steps for one in evidence], [one.others for one in evidence])
    )
    p = posterior(candidates[None], others[None], np.array([n_steps]), evidence[0].chance, scale)[0]
    first, second = np.sort(p)[::-1][:2]
    return Recognition(p, tuple(map(_scores, evidence)), candidates, n_steps, bool(first >= STRONG * second))


def posterior(
    candidates: Float[np.ndarray, "n c"],
    others: Float[np.ndarray, "n w"],
    n_steps: Int[np.ndarray, " n"],
    chance: float,
    scale: EvidenceScale,
) -> Float[np.ndarray, "n k"]:
    """The probabilities of c candidates and of *none of these* in n questions; before, everybody is as likely.

    p(c) ~ exp(b L_c), and p(none) ~ exp(nobody) mean exp(b L_w), with the log-likelihoods L_c of candidates and L_w of
    the others, their wide alternatives, chance and somebody else. So *none* is somebody near a candidate who is not it,
    or an agent that acts at random. b = weight t^-dependence exp(weight_lead s) after t steps, and nobody = its
    intercept + nobody_lead s + nobody_steps log t, where the lead s = (max_c L_c - L_chance) / (t + 4) says in nats per
    step how much better than chance the best candidate predicts; the 4 is a prior of no lead.

    Args:
        candidates: L_c; -inf where a question has fewer.
        others: L_w, -inf likewise.
        n_steps: t.
        chance: log p of a step at random.
        scale: the rest.
    """
    lead = np.clip((candidates.max(1) - chance * n_steps) / (n_steps + LEAD_PRIOR), -LARGEST_LEAD, LARGEST_LEAD)
    b = scale.evidence(n_steps, lead)[:, None]
    nobody = scale.nobody_logit(n_steps, lead) + _log_mean(b * others, np.isfinite(others).sum(1))
    logits = np.concatenate([b * candidates, nobody[:, None]], 1)
    p = np.exp(logits - logits.max(1, keepdims=True))
    found: Float[np.ndarray, "n k"] = p / p.sum(1, keepdims=True)
    return found


def _scores(evidence: EpisodeEvidence) -> Float[np.ndarray, "k t"]:
    before = np.cumsum(evidence.others, axis=1)
    nobody = np.diff(np.logaddexp.reduce(before, axis=0) - np.log(len(before)), prepend=0.0)
    steps = np.vstack([evidence.steps, nobody[None]])
    scores: Float[np.ndarray, "k t"] = steps - (np.logaddexp.reduce(steps, axis=0) - np.log(len(steps)))
    return scores


def _log_mean(values: Float[np.ndarray, "n w"], number: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    most = values.max(1)
    found: Float[np.ndarray, " n"] = most + np.log(np.exp(values - most[:, None]).sum(1)) - np.log(number)
    return found
