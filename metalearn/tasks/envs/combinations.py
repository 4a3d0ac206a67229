"""Manners in combinations that no training task has: what families of demonstrators share.

Each range is halved. The combinations of halves with even parity are for training, those of odd parity for validation
and test: every manner is known there, and no combination of them.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from metalearn.tasks.family import SPLITS

Ranges = Mapping[str, tuple[float, float]]


def draw_shares(n: int, index: int, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """A combination of n manners for task `index`, as shares of their ranges from 0 to 1."""
    odd = index not in SPLITS["train"]
    cell = rng.integers(0, 2, n)
    cell[-1] = (cell[:-1].sum() + odd) % 2
    shares: Float[np.ndarray, " n"] = (cell + rng.random(n)) / 2
    return shares


def draw_skill(rng: np.random.Generator) -> float:
    """How skilled a demonstrator is: most know what they are doing, one in eight acts at random for the most part."""
    return float(1 - rng.random() ** 3)


def at_shares(ranges: Ranges, shares: Float[np.ndarray, " n"]) -> dict[str, float]:
    """The value of each manner at these shares of its range."""
    low, high = np.array(list(ranges.values())).T
    return dict(zip(ranges, (low + shares * (high - low)).tolist(), strict=True))


def sibling_of(index: int, n_goals: int, splits: Mapping[str, range], rng: np.random.Generator) -> int:
    """A task of the same split with the same goal, index modulo `n_goals`, and another demonstrator."""
    split = next(indices for indices in splits.values() if index in indices)
    return split[int(rng.integers(len(split) // n_goals)) * n_goals + index % n_goals]
