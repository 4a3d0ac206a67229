"""What a classifier of lineups is given, a bound of recognition (`classifiers.judge` learns from them who acted).

It sees all that the likelihood sees, what every candidate would have done in every step, and also how each candidate's
demonstrations look beside the episode, by the family's own statistics. Trained on other tasks than it is asked about.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from metalearn.data.episode import Array
from metalearn.data.units import Units
from metalearn.evaluation.recognition import Scored, first_steps
from metalearn.recognition.calibration import EvidenceScale
from metalearn.tasks.family import MannerFamily


def features_of(
    scored: Sequence[Scored], family: MannerFamily, units: Units, scale: EvidenceScale, spread: Array, n_steps: int
) -> Float[np.ndarray, "n c f"]:
    """What is known of each candidate of n lineups, from the first steps of an episode."""
    return np.stack([_features(one, family, units, scale, spread, n_steps) for one in scored])


def _features(
    one: Scored, family: MannerFamily, units: Units, scale: EvidenceScale, spread: Array, n_steps: int
) -> Float[np.ndarray, "c f"]:
    found = one.evidence(units, scale, n_steps)
    n, c = found.steps.shape[1], len(found.steps)
    likely, others = found.steps.sum(1), found.others.sum(1)
    best_else = np.array([np.delete(likely, i).max() for i in range(c)])
    somebody = others[c + 1] if len(others) > c + 1 else others[c]
    against = np.stack([best_else, others[:c], np.full(c, others[c]), np.full(c, somebody)])
    episode = first_steps(one.case.episode, n)
    of_each = [np.flatnonzero(one.candidates.owner == i) for i in range(c)]
    top = np.array([rows[one.candidates.log_weights[rows].argmax()] for rows in of_each])
    assert episode.actions is not None
    done, out = units.encode_actions(episode.actions), one.heads.out[top, :n]
    missed = done - (_probabilities(out, units) if units.spec.discrete else np.clip(out, -1, 1))
    sigma = one.heads.log_sigma[top]
    index = one.case.tasks[0]  # a sibling of all the others: the goal is theirs
    shown = np.stack([family.statistics(context.demos, index) for context in one.case.contexts])
    differs = np.nan_to_num((family.statistics([episode], index) - shown) / spread)
    return np.concatenate(
        [
            (likely / n)[:, None], ((likely - against) / n).T, np.arcsinh(likely - against).T,
            missed.mean(1), np.sqrt(np.square(missed).mean(1)), sigma,
            np.log(np.sqrt(np.square(missed).mean(1)) + 1e-3) - sigma, differs, np.abs(differs),
            np.full((c, 1), np.log(n)),
        ],
        axis=1,
    )  # fmt: skip


def _probabilities(logits: Float[np.ndarray, "m t a"], units: Units) -> Float[np.ndarray, "m t a"]:
    cuts = np.cumsum(units.spec.action_choices)[:-1]
    return np.concatenate([softmax(part, axis=-1) for part in np.split(logits, cuts, -1)], -1)
