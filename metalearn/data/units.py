"""The units that networks count in: actions in halves of their range, rewards in what they usually differ by.

Units decide nothing: the same tasks in millimetres or in metres are learnt alike. Observations have theirs in the
encoder (`metalearn.model.observations`). Does not know networks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped

from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array
from metalearn.data.spec import Spec

EPSILON = float(np.finfo(np.float32).eps)
"""What varies by less than this, relative to its magnitude, is the rounding of a constant: episodes are float32."""
HARDLY_USED = 0.1
"""Of a component's range: actions that stay within so little of it have a unit of their own."""

Scales = tuple[tuple[float, float], ...]
"""Offset and size of the unit of each component; a component of size 0 is always its offset."""


class Units:
    """Turns the actions of `spec`, and rewards, into numbers around -1 .. 1 and back: (value - offset) / size.

    Args:
        spec: of the actions; discrete ones become one-hot, component by component, and have no units.
        actions: offset and size of each component, in the order of memory; none: actions are used as they are.
        reward: offset and size.

    Attributes:
        offsets, sizes: of the components of an action, `[a]`, or of all of them at once, `[1]`.
    """

    def __init__(self, spec: Spec, actions: Scales = (), reward: tuple[float, float] = (0.0, 1.0)) -> None:
        self.spec, self.actions, self.reward = spec, actions, reward
        self.offsets, self.sizes = np.array(actions or ((0.0, 1.0),)).T
        self._divisors = np.where(self.sizes == 0, np.inf, self.sizes)

    @classmethod
    def of_bounds(cls, spec: Spec) -> "Units":
        """The units that the bounds of the action space give, without having seen an action."""
        return cls(spec, _unless_trivial(_of_bounds(spec)))

    @classmethod
    def fitted(cls, dataset: Dataset) -> "Units":
        """The units of the bounds; where there are none, or hardly any of the range is used, those of the actions."""
        scales = _of_bounds(dataset.spec)
        if scales:
            imitated = [actions for record in dataset.tasks for _, actions in record.targets()]
            played = (e.actions for record in dataset.tasks for e in record.episodes())  # where there is no expert
            done = np.concatenate(imitated or [actions for actions in played if actions is not None])
            done = done.reshape(len(done), -1).astype(np.float64)
            scales = _fitted_actions(scales, _bounded(dataset.spec.action_space).ravel(), done)
        episodes = [episode for record in dataset.tasks for episode in record.episodes()]
        rewards = [episode.rewards for episode in episodes if episode.rewards is not None]
        reward = _fitted_reward(np.concatenate(rewards).astype(np.float64)) if rewards else (0.0, 1.0)
        return cls(dataset.spec, _unless_trivial(scales), reward)

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " a"]]:
        """The bounds of continuous actions, in their units; 0 of an unbounded component that never varied."""
        space: Any = self.spec.action_space
        with np.errstate(invalid="ignore"):
            low, high = (
                (bound.ravel().astype(np.float64) - self.offsets) / self._divisors for bound in (space.low, space.high)
            )
        return np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), 0.0, high)

    def encode_actions(self, actions: Array) -> Float32[np.ndarray, "*t a"]:
        """Actions `[*t, *shape]` as vectors: continuous ones in their units, each choice of discrete ones one-hot."""
        if self.spec.discrete:
            chosen = self._components(actions - self.spec.actions.lowest)
            one_hot = [np.eye(n, dtype=np.float32)[chosen[..., i]] for i, n in enumerate(self.spec.action_choices)]
            return one_hot[0] if len(one_hot) == 1 else np.concatenate(one_hot, -1)
        vectors = self._components(actions)
        if not self.actions:
            return vectors.astype(np.float32)
        encoded: Array = ((vectors.astype(np.float64) - self.offsets) / self._divisors).astype(np.float32)
        return encoded

    def targets(self, actions: Array) -> Shaped[np.ndarray, "t *k"]:
        """What a network learns to say of t actions: vectors `[t, a]`, or choices counted from 0, `[t]` or `[t, k]`."""
        if not self.spec.discrete:
            return self.encode_actions(actions)
        chosen: Array = (actions - self.spec.actions.lowest).astype(np.int64)
        return chosen if chosen.ndim == 1 else self._components(chosen)

    def decode_actions(self, out: Shaped[np.ndarray, "b *k"]) -> Shaped[np.ndarray, "b *a"]:
        """What a network gives, vectors `[b, a]` or choices `[b]` or `[b, k]`, as actions within the action space."""
        space, shape = self.spec.actions.space, self.spec.actions.shape
        if self.spec.discrete:
            return np.asarray(out.reshape(len(out), *shape) + self.spec.actions.lowest, np.int64)
        if self.actions:
            out = (out.astype(np.float64) * self.sizes + self.offsets).astype(np.float32)
        clipped: Array = np.minimum(np.maximum(out.reshape(len(out), *shape), space.low), space.high)
        return clipped

    def _components(self, actions: Array) -> Array:
        """Actions `[*t, *shape]` as `[*t, k]`."""
        kind = self.spec.actions
        return actions.reshape(*actions.shape[: actions.ndim - len(kind.shape)], kind.n_components)

    def encode_rewards(self, rewards: Float32[np.ndarray, "*t"]) -> Float32[np.ndarray, "*t"]:
        """Rewards in their unit."""
        offset, size = self.reward
        return ((rewards.astype(np.float64) - offset) / size).astype(np.float32)


def deviation(values: Float[np.ndarray, "n v"]) -> Float[np.ndarray, " v"]:
    """The standard deviation of each column in float64; 0 where all that differs is the rounding of a constant."""
    exact = values.astype(np.float64)
    found: Array = exact.std(0)
    return np.where(found > EPSILON * np.abs(exact).max(0), found, 0.0)


def _bounded(space: Any) -> Bool[np.ndarray, "*a"]:
    return np.isfinite(space.low) & np.isfinite(space.high)


def _of_bounds(spec: Spec) -> Scales:
    """Middle and half-range of each component; (0, 1) where it has no bounds."""
    space: Any = spec.action_space
    if spec.discrete:
        return ()
    bounded = _bounded(space)
    low, high = (np.where(bounded, bound, end).astype(np.float64) for bound, end in ((space.low, -1), (space.high, 1)))
    return _pairs(((low + high) / 2).ravel(), ((high - low) / 2).ravel())


def _fitted_actions(scales: Scales, bounded: Bool[np.ndarray, " a"], done: Float[np.ndarray, "n a"]) -> Scales:
    offset, size = np.array(scales).T
    spread = deviation(done)
    hardly_used = (np.ptp(done, axis=0) / 2 < HARDLY_USED * size) & (spread > 0)
    own = ~bounded | hardly_used
    return _pairs(np.where(own, done.mean(0), offset), np.where(own, 2 * spread, size))


def _fitted_reward(rewards: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The median, and how far from it rewards are that differ from it: 0 and 1 where success alone is rewarded.

    Zeros alone have the unit 1, and another constant its own magnitude.
    """
    middle, largest = float(np.median(rewards)), float(np.abs(rewards).max())
    others = rewards[np.abs(rewards - middle) > EPSILON * largest] - middle
    if not len(others):
        return 0.0, largest or 1.0
    return middle, float(np.sqrt(np.square(others).mean()))


def _pairs(offset: Float[np.ndarray, " a"], size: Float[np.ndarray, " a"]) -> Scales:
    return tuple(zip(offset.tolist(), size.tolist(), strict=True))


def _unless_trivial(scales: Sequence[tuple[float, float]]) -> Scales:
    return () if all(pair == (0.0, 1.0) for pair in scales) else tuple(scales)
