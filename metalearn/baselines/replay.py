"""Repeating what was seen, without learning: by the clock (`Replay`) or by the state (`StateMatched`).

The episode repeated is the last own trial that succeeded, else the first demonstration with actions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from metalearn.adapter import Actor
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData


class Recording(NamedTuple):
    """The episode that is repeated: its observations where an action followed, and those actions."""

    observations: Shaped[np.ndarray, "t *o"]
    actions: Shaped[np.ndarray, "t *a"]


class Replay:
    """Open loop: the recorded actions in their order, then the last one again. An adapter."""

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Actor:
        """Raises InvalidData where no action was recorded. Draws nothing."""
        return ReplayActor([recording_of(context, i) for i, context in enumerate(contexts)])


class StateMatched:
    """Closed loop: the action that followed the recorded observation most like the present one. An adapter."""

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Actor:
        """Raises InvalidData where no action was recorded. Draws nothing."""
        return StateMatchedActor([recording_of(context, i) for i, context in enumerate(contexts)])


class ReplayActor:
    """Counts steps, and looks at nothing."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._actions = [recording.actions for recording in recordings]
        self._step = 0

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The recorded action of this step, or the last one when there are no more."""
        now = np.stack([actions[min(self._step, len(actions) - 1)] for actions in self._actions])
        self._step += 1
        return now


class StateMatchedActor:
    """Compares states, each number in units of its spread over the recording."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._scales = [_spread(recording.observations) for recording in recordings]
        self._actions = [recording.actions for recording in recordings]
        self._states = [_flat(r.observations) / scale for r, scale in zip(recordings, self._scales, strict=True)]

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The action that followed the nearest recorded observation; of equally near ones the first."""
        present = _flat(observations)
        return np.stack(
            [
                actions[np.square(states - state / scale).sum(1).argmin()]
                for state, scale, states, actions in zip(
                    present, self._scales, self._states, self._actions, strict=True
                )
            ]
        )


def recording_of(context: Context, i: int = 0) -> Recording:
    """What to repeat of context `i`. Raises InvalidData."""
    solved = [trial for trial in reversed(context.trials) if trial.success]
    for episode in (*solved, *context.demos):
        if episode.actions is not None:
            return Recording(episode.observations[:-1], episode.actions)
    got = f"{len(context.demos)} demonstrations without actions" if context.demos else "no demonstration"
    raise InvalidData(f"contexts[{i}].demos", "a demonstration with actions or a successful trial with them", got)


def _flat(observations: Array) -> Float[np.ndarray, "n d"]:
    return observations.reshape(len(observations), -1).astype(np.float64)


def _spread(observations: Array) -> Float[np.ndarray, " d"]:
    """Standard deviation of each number over the recording; 1 where it never changed."""
    spread = _flat(observations).std(0)
    return np.where(spread > 0, spread, 1.0)
