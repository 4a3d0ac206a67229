"""An episode in a few frames, first and last kept: what the encoder sees of it, whatever its length.

Knows which numbers are unknown (actions of an observation-only demo, rewards nobody gave) and flags them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped

from metalearn.data.episode import Array, Episode, PackedEpisode
from metalearn.data.parts import observation_vectors
from metalearn.data.pixels import PackedRows
from metalearn.data.spaces import beside_pictures
from metalearn.data.units import Units


@dataclass(frozen=True, eq=False)
class Frames:
    """n episodes in f frames each.

    Attributes:
        observations: at the frame, as episodes keep them: pictures as uint8, several parts as fields; packed in a pool
            of packed episodes, until frames are picked.
        changes: of the numbers that are no pixels in the step from the frame to the next (at the end: from the last).
        actions: taken at the frame (at the end: the last), in their units, discrete ones one-hot; zeros where unknown.
        rewards: received on arriving at the frame, in their unit; zeros where unknown.
        times: of the frame, as a fraction of the horizon.
        success: +1, -1, or 0 where unknown.
        has_actions: whether the actions are known.
        has_rewards: whether the rewards are known.
        effects: summed over all steps, change x action `[o a]`, then action x action `[a a]`, flattened; zeros
            where actions are unknown, and no numbers at all unless asked for.
        mean_observations: over the steps since the frame before, this one included, of the numbers that are no pixels;
            no numbers unless asked for.
        mean_rewards: over the steps since the frame before; zeros where unknown or not asked for.
    """

    observations: Shaped[np.ndarray, "n f *o"] | PackedRows
    changes: Float32[np.ndarray, "n f m"]
    actions: Float32[np.ndarray, "n f a"]
    rewards: Float32[np.ndarray, "n f"]
    times: Float32[np.ndarray, "n f"]
    success: Float32[np.ndarray, " n"]
    has_actions: Bool[np.ndarray, " n"]
    has_rewards: Bool[np.ndarray, " n"]
    effects: Float32[np.ndarray, "n s"]
    mean_observations: Float32[np.ndarray, "n f _m"]
    mean_rewards: Float32[np.ndarray, "n f"]

    @classmethod
    def of(
        cls, episodes: Sequence[Episode], n_frames: int, units: Units, *, effects: bool = False, means: bool = False
    ) -> "Frames":
        """The frames of `episodes`, which fit the spec of `units`; with `effects` or `means`, those too."""
        n, o, a = len(episodes), units.spec.observation_size, units.spec.action_size
        plain = beside_pictures(units.spec.parts)
        m = len(plain)
        dtype, shape = units.spec.observation_layout
        packed = n > 0 and all(isinstance(episode, PackedEpisode) for episode in episodes)
        frames = cls(
            observations=PackedRows.zeros((n, n_frames), dtype, shape)
            if packed
            else np.zeros((n, n_frames, *shape), dtype),
            changes=np.zeros((n, n_frames, m), np.float32),
            actions=np.zeros((n, n_frames, a), np.float32),
            rewards=np.zeros((n, n_frames), np.float32),
            times=np.zeros((n, n_frames), np.float32),
            success=np.zeros(n, np.float32),
            has_actions=np.zeros(n, bool),
            has_rewards=np.zeros(n, bool),
            effects=np.zeros((n, (o + a) * a if effects else 0), np.float32),
            mean_observations=np.zeros((n, n_frames, m if means else 0), np.float32),
            mean_rewards=np.zeros((n, n_frames), np.float32),
        )
        for i, episode in enumerate(episodes):
            frames._fill(i, episode, units, plain, means=means)
        return frames

    def _fill(self, i: int, episode: Episode, units: Units, plain: Int64[np.ndarray, " m"], *, means: bool) -> None:
        steps = np.round(np.linspace(0, len(episode), self.times.shape[1])).astype(np.int64)
        left = np.minimum(steps, len(episode) - 1)  # the step that leaves the frame; at the end, the last one
        rows: PackedRows | Array = episode.rows if isinstance(episode, PackedEpisode) else episode.observations
        if isinstance(rows, PackedRows) and isinstance(self.observations, PackedRows):
            self.observations[i] = rows.pick(steps)
        else:
            self.observations[i] = rows[steps]
        if len(plain):
            before, after = (observation_vectors(rows[at])[:, plain] for at in (left, left + 1))
            self.changes[i] = after - before
        self.times[i] = steps / units.spec.horizon
        if episode.actions is not None:
            done = units.encode_actions(episode.actions)
            self.actions[i] = done[left]
            self.has_actions[i] = True
            if self.effects.size:
                changes = np.diff(observation_vectors(episode.observations), axis=0)
                self.effects[i] = effects_of(changes, done).sum(0)
        rewards = None if episode.rewards is None else units.encode_rewards(episode.rewards)
        if rewards is not None:
            self.rewards[i, 1:] = rewards[np.maximum(steps[1:] - 1, 0)]
            self.has_rewards[i] = True
        if means:
            self.mean_observations[i] = _means_since(observation_vectors(episode.observations)[:, plain], steps)
            if rewards is not None:
                arrived = np.concatenate([np.zeros(1, np.float32), rewards])[:, None]
                self.mean_rewards[i] = _means_since(arrived, steps)[:, 0]
        if episode.success is not None:
            self.success[i] = 1.0 if episode.success else -1.0

    def pick(self, index: Int64[np.ndarray, " m"]) -> "Frames":
        """The frames of some of the episodes."""
        return Frames(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @property
    def vectors(self) -> Float32[np.ndarray, "n f o"]:
        """The observations as vectors."""
        seen = self.observations[...]
        rows = observation_vectors(seen.reshape(self.times.size, *seen.shape[2:]))
        return rows.reshape(*self.times.shape, rows.shape[1])

    def arrays(self) -> dict[str, np.ndarray]:
        """What networks see, by name: observations as vectors, and the other fields."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"observations": self.vectors}


def _means_since(values: Float32[np.ndarray, "t v"], ends: Int64[np.ndarray, " f"]) -> Float32[np.ndarray, "f v"]:
    """Of the values after `ends[i - 1]` up to `ends[i]`; where there are none, the value at `ends[i]`."""
    added = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    starts = np.minimum(np.concatenate([[0], ends[:-1] + 1]), ends)
    return ((added[ends + 1] - added[starts]) / (ends + 1 - starts)[:, None]).astype(np.float32)


def effects_of(
    changes: Float32[np.ndarray, "*n o"], actions: Float32[np.ndarray, "*n a"]
) -> Float32[np.ndarray, "*n s"]:
    """Change x action, then action x action, flattened: what `metalearn.model.dynamics` estimates dynamics from."""
    cross = changes[..., :, None] * actions[..., None, :]
    power = actions[..., :, None] * actions[..., None, :]
    return np.concatenate([part.reshape(*part.shape[:-2], -1) for part in (cross, power)], -1)


def gather(
    episodes: Sequence[Sequence[Episode]], n_frames: int, units: Units, *, effects: bool, means: bool
) -> dict[str, np.ndarray]:
    """The frames of k episodes of each of b tasks, `[b, k, ...]` float32, and the `mask [b, k]` of who is there.

    k is the largest number of episodes of a task, and at least one; what nobody fills is zeros.
    """
    flat = [episode for of_task in episodes for episode in of_task]
    pool = Frames.of(flat, n_frames, units, effects=effects, means=means)
    shape = (len(episodes), max(1, *(len(of_task) for of_task in episodes)))
    mask = np.zeros(shape, bool)
    for row, of_task in enumerate(episodes):
        mask[row, : len(of_task)] = True
    arrays: dict[str, np.ndarray] = {}
    for name, values in pool.arrays().items():
        arrays[name] = np.zeros((*shape, *values.shape[1:]), np.float32)
        arrays[name][mask] = values
    return arrays | {"mask": mask}
