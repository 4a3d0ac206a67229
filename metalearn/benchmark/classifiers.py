"""Classifiers as bounds of what can be told: a network with one hidden layer, or a linear one."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from metalearn.data.episode import Array

STEPS, DROPOUT = 600, 0.2


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
