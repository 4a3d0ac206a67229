"""Replaying recorded actions without learning: by the clock (`DemoReplay`) or by the state (`StateMatchedReplay`).

The recording is the last own trial that succeeded, else the first demonstration with actions. With an index of
training episodes, the state-matched one also looks up the experts' actions in the most similar training tasks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from metalearn.adapter import Actor
from metalearn.baselines.nearest_neighbour import NearestNeighbourIndex
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.parts import observation_vectors

N_MATCHED = 256
"""Training tasks whose states are matched: of 8 to 1,024 tried on `reach-m2`, fewer did worse, more no better."""

MAX_MATCHED_STEPS = 4096
"""Steps that a state is compared with, those of the most similar tasks: long episodes make a step slow."""


class Recording(NamedTuple):
    """The episode that is repeated: its observations where an action followed, and those actions."""

    observations: Shaped[np.ndarray, "t *o"]
    actions: Shaped[np.ndarray, "t *a"]


class DemoReplay:
    """Open loop: the recorded actions in their order, then the last one again. An adapter.

    Without a recorded action in the context it repeats an expert of the training tasks most like it, the one that
    started most like the present episode; without an index there is nothing that it could repeat.
    """

    def __init__(self, index: NearestNeighbourIndex | None = None) -> None:
        self._index = index

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Actor:
        """Raises InvalidData where no action was recorded and there is no index. Draws nothing."""
        return DemoReplayActor([self._choices(context, i) for i, context in enumerate(contexts)], self._index)

    def _choices(self, context: Context, i: int) -> list[Recording]:
        own = _found(context, i, self._index)
        if own is not None or self._index is None:
            return [own] if own else []
        return [Recording(*self._index.episode(int(e))) for e in self._index.near(context)]


class StateMatchedReplay:
    """Closed loop: the action that followed the recorded observation most like the present one. An adapter.

    With an index the steps of experts in the `n_nearest` most similar training tasks count as recorded too.
    """

    def __init__(self, index: NearestNeighbourIndex | None = None, n_nearest: int = N_MATCHED) -> None:
        self._index, self._n_nearest = index, n_nearest

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Actor:
        """Raises InvalidData where no action was recorded and there is no index. Draws nothing."""
        recordings = [_found(context, i, self._index) for i, context in enumerate(contexts)]
        if self._index is None:
            return StateMatchedActor([recording for recording in recordings if recording is not None])
        near = [
            self._index.steps(self._index.near(context, self._n_nearest))[:MAX_MATCHED_STEPS] for context in contexts
        ]
        return NearestNeighbourActor(self._index, near, recordings)


class DemoReplayActor:
    """Counts steps, and looks at nothing but where the episode begins.

    Of several choices for a task it takes the one that began most like the episode; those are of `index`.
    """

    def __init__(self, choices: Sequence[Sequence[Recording]], index: NearestNeighbourIndex | None = None) -> None:
        self._choices, self._index = choices, index
        self._actions: list[Array] = []
        self._step = 0

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The recorded action of this step, or the last one when there are no more."""
        if self._step == 0:
            self._actions = [self._chosen(i, observations[i : i + 1]) for i in range(len(observations))]
        now = np.stack([actions[min(self._step, len(actions) - 1)] for actions in self._actions])
        self._step += 1
        return now

    def _chosen(self, i: int, beginning: Array) -> Array:
        choices = self._choices[i]
        if len(choices) == 1 or self._index is None:
            return choices[0].actions
        present = self._index.normalised(beginning)[0]
        return min(choices, key=lambda choice: float(np.square(choice.observations[0] - present).sum())).actions


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


class NearestNeighbourActor:
    """Compares states in units of their spread over the index: own recording first, then the steps looked up."""

    def __init__(
        self,
        index: NearestNeighbourIndex,
        near: Sequence[Int[np.ndarray, " s"]],
        recordings: Sequence[Recording | None],
    ) -> None:
        self._index, self._near = index, near
        nothing = index.observations[:0], index.actions[:0]
        self._own = [nothing if r is None else (index.normalised(r.observations), r.actions) for r in recordings]

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The action that followed the nearest recorded observation; of equally near ones the first."""
        index, present = self._index, self._index.normalised(observations)
        actions = []
        for state, steps, (own, done) in zip(present, self._near, self._own, strict=True):
            known = np.concatenate([own, index.observations[steps]])
            best = int(np.square(known - state).sum(1).argmin())
            actions.append(done[best] if best < len(own) else index.actions[steps[best - len(own)]])
        return np.stack(actions)


def recording_of(context: Context, i: int = 0) -> Recording:
    """Return the recording that context `i` offers to repeat. Raises InvalidData."""
    solved = [trial for trial in reversed(context.trials) if trial.success]
    for episode in (*solved, *context.demos):
        if episode.actions is not None:
            return Recording(episode.observations[:-1], episode.actions)
    got = f"{len(context.demos)} demonstrations without actions" if context.demos else "no demonstration"
    raise InvalidData(f"contexts[{i}].demos", "a demonstration with actions or a successful trial with them", got)


def _found(context: Context, i: int, index: NearestNeighbourIndex | None) -> Recording | None:
    """Return the recording that context `i` offers; None if only the index has one."""
    try:
        return recording_of(context, i)
    except InvalidData:
        if index is None:
            raise
        return None


def _flat(observations: Array) -> Float[np.ndarray, "n d"]:
    return observation_vectors(observations).astype(np.float64)


def _spread(observations: Array) -> Float[np.ndarray, " d"]:
    """Standard deviation of each number over the recording; 1 where it never changed."""
    spread = _flat(observations).std(0)
    return np.where(spread > 0, spread, 1.0)
