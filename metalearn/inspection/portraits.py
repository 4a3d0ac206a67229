"""Episodes as rows of numbers, so that those that look alike are near each other.

Knows nothing of tasks. Axes: n episodes, p numbers of a portrait.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from metalearn.data.episode import Array, Episode
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import EPSILON, Units

N_FRAMES = 8
MOST_NUMBERS = 256
"""Numbers of an observation that are looked at one by one; of larger ones (images) as many random projections."""
FLOOR = 0.05
"""Of a component's spread over whole episodes: what differs by less than this between episodes counts for less."""


def portraits(episodes: Sequence[Episode], spec: Spec) -> Float[np.ndarray, "n p"]:
    """Frames, means between frames, actions, rewards and outcome of each episode, every number in its spread.

    Equal episodes have equal portraits.
    """
    units = Units.of_bounds(spec)
    parts = [_signals(episode, units) for episode in episodes]
    spread = np.concatenate(parts).std(0)
    framed = np.stack([_framed(signals) for signals in parts])  # [n, frames, signals]
    framed = framed - framed.mean(0)
    scale = np.maximum(framed.std(0), FLOOR * spread)
    rows = np.divide(framed, scale, out=np.zeros_like(framed), where=scale > EPSILON).reshape(len(parts), -1)
    ends = np.array([[len(e) / spec.horizon, {None: 0.0, True: 1.0, False: -1.0}[e.success]] for e in episodes])
    return np.concatenate([rows, (ends - ends.mean(0)) / np.maximum(ends.std(0), FLOOR)], 1)


def distances(rows: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n n"]:
    """Squared distances between portraits, in units of the mean over all pairs; zeros where all are equal."""
    squares = np.square(rows).sum(1)
    found = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)
    np.fill_diagonal(found, 0)
    n = len(rows)
    mean = found.sum() / max(1, n * (n - 1))
    return found / mean if mean > EPSILON else np.zeros_like(found)


def compressed(vectors: Float[np.ndarray, "n o"]) -> Float[np.ndarray, "n c"]:
    """Observation vectors, or random projections of them where there are very many numbers."""
    size = vectors.shape[1]
    if size <= MOST_NUMBERS:
        return vectors.astype(np.float64)
    drawn = np.random.default_rng(size).standard_normal((size, MOST_NUMBERS), np.float32)
    return (vectors @ drawn / np.sqrt(size)).astype(np.float64)


def _signals(episode: Episode, units: Units) -> Float[np.ndarray, "t1 s"]:
    """Observations, the actions that followed and the rewards that came before, one row per observation."""
    seen = compressed(observation_vectors(episode.observations))
    n = len(seen)
    done = np.zeros((n, 0))
    if episode.actions is not None:
        encoded = units.encode_actions(episode.actions).reshape(n - 1, -1)
        done = np.concatenate([encoded, encoded[-1:]])
    rewards: Array = np.zeros(n - 1) if episode.rewards is None else episode.rewards
    return np.concatenate([seen, done, np.concatenate([np.zeros(1), rewards])[:, None]], 1)


def _framed(signals: Float[np.ndarray, "t1 s"]) -> Float[np.ndarray, "f s"]:
    """At `N_FRAMES` times from first to last, and the means between these."""
    steps = np.round(np.linspace(0, len(signals) - 1, N_FRAMES)).astype(int)
    sums = np.concatenate([np.zeros((1, signals.shape[1])), np.cumsum(signals, 0)])
    means = [(sums[b + 1] - sums[a]) / (b + 1 - a) for a, b in pairwise(steps)]
    return np.concatenate([signals[steps], np.stack(means)])
