"""Who acted: the posterior over candidates and *none of these*, what each step says, and whether it is enough.

Pure functions of the evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.likelihood import EpisodeEvidence

NONE = "none"
"""The name of the answer that it was nobody of the candidates."""
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
    """The posterior over who acted in all of these episodes; before seeing them, everybody is as likely.

    p(c) ~ exp(b L_c), and p(none) ~ exp(nobody) mean exp(b L_w), with the log-likelihoods L_c of candidates and L_w of
    the others, their wide alternatives and chance, and b = weight t^-dependence. So *none* is somebody near a candidate
    who is not it, or an agent that acts at random.
    """
    n_steps = sum(one.steps.shape[1] for one in evidence)
    b = scale.evidence(n_steps)
    candidates, others = (
        np.sum([rows.sum(1) for rows in some], axis=0)
        for some in ([one.steps for one in evidence], [one.others for one in evidence])
    )
    logits = np.append(b * candidates, scale.nobody + _log_mean(b * others))
    p = np.exp(logits - logits.max())
    p /= p.sum()
    first, second = np.sort(p)[::-1][:2]
    return Recognition(p, tuple(map(_scores, evidence)), candidates, n_steps, bool(first >= STRONG * second))


def _scores(evidence: EpisodeEvidence) -> Float[np.ndarray, "k t"]:
    before = np.cumsum(evidence.others, axis=1)
    nobody = np.diff(np.logaddexp.reduce(before, axis=0) - np.log(len(before)), prepend=0.0)
    steps = np.vstack([evidence.steps, nobody[None]])
    scores: Float[np.ndarray, "k t"] = steps - (np.logaddexp.reduce(steps, axis=0) - np.log(len(steps)))
    return scores


def _log_mean(values: Float[np.ndarray, " n"]) -> float:
    return float(np.logaddexp.reduce(values) - np.log(len(values)))
