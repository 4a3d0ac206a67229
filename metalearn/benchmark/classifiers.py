"""Classifiers as bounds of what can be told: a network with one hidden layer, a linear one, and one for lineups."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from metalearn.data.episode import Array

STEPS, DROPOUT = 600, 0.2
JUDGE_STEPS, WIDTH, LARGEST = 800, 64, 6.0


def classify(
    learnt: Float[np.ndarray, "n f"],
    labels: Int[np.ndarray, " n"],
    asked: Float[np.ndarray, "m f"],
    n_classes: int,
    hidden: int,
    seed: int,
) -> Int[np.ndarray, " m"]:
    """The classes of `asked`, by a classifier that learns from `learnt`; linear if `hidden` is 0."""
    middle, spread = learnt.mean(0), learnt.std(0) + 1e-6
    x, y = (torch.from_numpy(np.clip((one - middle) / spread, -8, 8)).float() for one in (learnt, asked))
    target = torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inside = [nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Dropout(DROPOUT)] if hidden else []
        network = nn.Sequential(*inside, nn.Linear(hidden or x.shape[1], n_classes))
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
        for _ in range(STEPS):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x), target).backward()
            optimiser.step()
    network.eval()
    with torch.no_grad():
        picked: Array = network(y).argmax(-1).numpy()
    return picked


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
    x, y = (torch.from_numpy(np.clip((one - middle) / spread, -LARGEST, LARGEST)).float() for one in (learnt, asked))
    target = torch.from_numpy(answers)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _Judge(x.shape[-1])
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, JUDGE_STEPS)
        for _ in range(JUDGE_STEPS):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x), target).backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        found: Array = network(y).softmax(-1).numpy()
    return found
