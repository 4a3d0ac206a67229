"""A bound of recognition: a network that learns, from lineups with known answers, who acted or that it was nobody.

It sees all that the likelihood sees, what every candidate would have done in every step, and also how each candidate's
demonstrations look beside the episode, by the family's own statistics. Trained on other tasks than it is asked about.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from metalearn.data.episode import Array
from metalearn.data.units import Units
from metalearn.evaluation.recognition import Scored, first_steps
from metalearn.recognition.calibration import EvidenceScale
from metalearn.tasks.family import MannerFamily

STEPS, WIDTH, DROPOUT, LARGEST = 800, 64, 0.2, 6.0


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
    starts = np.searchsorted(one.candidates.owner, np.arange(c))
    rows = np.argsort(-one.candidates.log_weights, kind="stable")
    top = np.array([next(r for r in rows if one.candidates.owner[r] == i) for i in range(c)]) if len(rows) else starts
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
    powers = [np.exp(part - part.max(-1, keepdims=True)) for part in np.split(logits, cuts, -1)]
    return np.concatenate([one / one.sum(-1, keepdims=True) for one in powers], -1)


class _Judge(nn.Module):
    """A score for each candidate, whatever their order, and one for *none of these*."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(n_features, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, WIDTH))
        self.score = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, 1))
        self.nobody = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, 1))

    def forward(self, x: Float[Tensor, "n c f"]) -> Float[Tensor, "n _k"]:
        each = self.each(x)
        most = each.max(1).values
        beside = torch.cat([each, most[:, None].expand_as(each)], -1)
        found: Tensor = torch.cat([self.score(beside)[..., 0], self.nobody(most)], -1)
        return found


def judge(
    learnt: Float[np.ndarray, "n c f"], answers: Int[np.ndarray, " n"], asked: Float[np.ndarray, "m c f"], seed: int
) -> Float[np.ndarray, "m k"]:
    """The probability of each of c candidates, and of *none of these*, in m lineups, learnt from n others."""
    middle, spread = learnt.mean((0, 1)), learnt.std((0, 1)) + 1e-6
    x, y = (
        torch.from_numpy(np.clip((one - middle) / spread, -LARGEST, LARGEST)).float() for one in (learnt, asked)
    )
    target = torch.from_numpy(answers)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _Judge(x.shape[-1])
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x), target).backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        found: Array = network(y).softmax(-1).numpy()
    return found
