"""Brings an episode to another rate: states by interpolation, actions by the mean of what was held, rewards by sums.

Pure functions. Whether a column is a flag cannot be seen in one episode, which is why callers say it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.parts import joined, split

_NEARLY = 1e-3  # of a step: lengths that differ less are the same
Steps = np.ndarray[Any, np.dtype[np.float64]]
Flags = Mapping[str, Array]
"""Booleans `[*o]` for each part of an observation, by its name: which of its components are flags."""


def resample(episode: Episode, rate_hz: float, to_hz: float, *, flags: Flags) -> Episode:
    """The episode at another rate; the last observation and the success stay, and so does the sum of the rewards.

    With s = rate_hz / to_hz, step j of the new episode lasts from j s to (j + 1) s, counted in old steps, and:

    * its observation is the one at j s, interpolated between the two that are next to it;
    * its action is the mean of the actions during it, each of which was held for one old step;
    * its reward is the sum of those that came after j s, and not after (j + 1) s.

    A last step that is not whole goes to the end of the recording. Pixels, discrete actions and components that are
    flags take the value that is nearest in time: no value between two of them means anything.

    Args:
        episode: of t steps.
        rate_hz: its steps per second.
        to_hz: those of the result.
        flags: which components of an observation are flags, as `flags_among` finds them.
    """
    n_old = len(episode)
    scale = rate_hz / to_hz
    n_new = max(1, math.ceil(n_old / scale - _NEARLY))
    edges = np.minimum(np.arange(n_new + 1) * scale, n_old)
    edges[-1] = n_old
    return replace(
        episode,
        observations=_observations(episode.observations, edges, flags),
        actions=None if episode.actions is None else _actions(episode.actions, edges),
        rewards=None if episode.rewards is None else _rewards(episode.rewards, edges),
    )


def flags_among(observations: Sequence[Array]) -> Flags:
    """Which components have at most two values in all of these observations `[t+1, *o]` of a recording.

    Of observations with parts, those are flags too that are whole numbers throughout, as categories are.
    """
    parts = [split(one) for one in observations]
    return {name: _flags(name, [one[name] for one in parts]) for name in parts[0]}


def _flags(name: str, arrays: Sequence[Array]) -> Array:
    low = np.minimum.reduce([values.min(axis=0) for values in arrays])
    high = np.maximum.reduce([values.max(axis=0) for values in arrays])
    found: Array = np.logical_and.reduce([((one == low) | (one == high)).all(axis=0) for one in arrays])
    return found | np.logical_and.reduce([(one == np.floor(one)).all(axis=0) for one in arrays]) if name else found


def _observations(observations: Array, edges: Steps, flags: Flags) -> Array:
    parts = {name: _states(values, edges, flags[name]) for name, values in split(observations).items()}
    return parts[""] if "" in parts else joined(parts)


def _states(values: Array, edges: Steps, flags: Array) -> Array:
    nearest = values[np.floor(edges + 0.5).astype(np.int64)]
    if values.dtype == np.uint8:
        return nearest
    before = np.minimum(np.floor(edges).astype(np.int64), len(values) - 2)
    share = (edges - before).reshape(-1, *(1,) * (values.ndim - 1))
    between = values[before] * (1 - share) + values[before + 1] * share
    return np.where(flags, nearest, between).astype(values.dtype)


def _actions(values: Array, edges: Steps) -> Array:
    if values.dtype.kind == "i":
        middle = (edges[:-1] + edges[1:]) / 2
        return values[np.floor(middle).astype(np.int64)]
    sums = np.concatenate([np.zeros_like(values[:1], np.float64), np.cumsum(values, axis=0, dtype=np.float64)])
    before = np.minimum(np.floor(edges).astype(np.int64), len(values) - 1)
    axes = (-1, *(1,) * (values.ndim - 1))
    reached = sums[before] + (edges - before).reshape(axes) * values[before]  # the integral of what was held
    return (np.diff(reached, axis=0) / np.diff(edges).reshape(axes)).astype(values.dtype)


def _rewards(values: Array, edges: Steps) -> Array:
    """Reward i comes at i + 1; it belongs to the step in which that is, ends included."""
    step = np.searchsorted(edges[1:], np.arange(1, len(values) + 1) - 1e-6)
    return np.bincount(np.minimum(step, len(edges) - 2), weights=values, minlength=len(edges) - 1).astype(values.dtype)
