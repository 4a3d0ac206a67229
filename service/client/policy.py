"""A served adaptation as a callable for the loops that people have already: Gymnasium's, Minari's, vectorised ones.

Knows shapes; does not know environments.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData

if TYPE_CHECKING:
    from service.client.async_client import AsyncAdaptation, AsyncRecordedEpisode
    from service.client.sync_client import Adaptation, RecordedEpisode


class _Spaces:
    """What observations look like, and actions."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._shape = tuple(spec["observation_space"]["shape"])
        self._discrete = spec["action_space"]["type"] == "discrete"

    def one(self, observation: Array) -> bool:
        """Whether this is `[*o]`, and not `[n, *o]`. Raises InvalidData: it is neither."""
        if observation.shape == self._shape:
            return True
        if observation.ndim == len(self._shape) + 1 and observation.shape[1:] == self._shape:
            return False
        expected = ", ".join(map(str, self._shape))
        raise InvalidData("observation", f"shape [{expected}] or [n, {expected}]", f"shape {list(observation.shape)}")

    def action(self, action: Any) -> Array | int:
        """What `env.step` takes: an int where actions are discrete."""
        return int(action) if self._discrete else np.asarray(action)


def _begun(episode: Any) -> Any:
    """The open episode. Raises InvalidData: there is none."""
    if episode is None:
        raise InvalidData("episode", "one that was begun with reset()", "none")
    return episode


class Policy:
    """Observation in, action out.

    policy = client.policy(adaptation)
    while trying:
        (observation, _), reward, done = env.reset(), None, False
        policy.reset()                                     # an episode that the server records
        while not done:
            observation, reward, terminated, truncated, info = env.step(policy(observation, reward))
            done = terminated or truncated
        policy.finish(observation, reward, info["success"])    # a trial: from here on it knows how that went

    Outside of an episode, and for a batch `[n, *o]` of a vectorised environment, it acts under the most probable
    hypothesis and nothing is recorded.

    Attributes:
        adaptation: in its newest version.
    """

    def __init__(self, adaptation: "Adaptation", spec: Mapping[str, Any], explore: bool | None = None) -> None:
        self.adaptation = adaptation
        self._spaces, self._explore = _Spaces(spec), explore
        self._episode: RecordedEpisode | None = None

    @property
    def recording(self) -> bool:
        """Whether an episode is open."""
        return self._episode is not None

    def reset(self, explore: bool | None = None) -> None:
        """Begin an episode; one that was not finished teaches nothing."""
        self._episode = self.adaptation.episode(self._explore if explore is None else explore)

    def __call__(self, observation: Any, reward: float | None = None) -> Any:
        """The action for `[*o]`, or the actions for `[n, *o]`; `reward` is that of the previous action.

        Raises:
            InvalidData: the observation has another shape.
            ClientError: the server refused.
        """
        seen = np.asarray(observation)
        if not self._spaces.one(seen):
            return self.adaptation.act(seen)
        if self._episode is not None:
            return self._spaces.action(self._episode.act(seen, reward))
        return self._spaces.action(self.adaptation.act(seen[None])[0])

    def finish(self, observation: Any, reward: float | None = None, success: bool | None = None) -> "Adaptation":
        """End the episode and learn from it: the next version, which the policy goes on with."""
        episode: RecordedEpisode = _begun(self._episode)
        self.adaptation = episode.finish(np.asarray(observation), reward, success)
        self._episode = None
        return self.adaptation


class AsyncPolicy:
    """The same, awaited: `await policy.reset()`, `await policy(observation, reward)`, `await policy.finish(...)`.

    Attributes:
        adaptation: in its newest version.
    """

    def __init__(self, adaptation: "AsyncAdaptation", spec: Mapping[str, Any], explore: bool | None = None) -> None:
        self.adaptation = adaptation
        self._spaces, self._explore = _Spaces(spec), explore
        self._episode: AsyncRecordedEpisode | None = None

    @property
    def recording(self) -> bool:
        """Whether an episode is open."""
        return self._episode is not None

    async def reset(self, explore: bool | None = None) -> None:
        """Begin an episode; one that was not finished teaches nothing."""
        self._episode = await self.adaptation.episode(self._explore if explore is None else explore)

    async def __call__(self, observation: Any, reward: float | None = None) -> Any:
        """The action for `[*o]`, or the actions for `[n, *o]`; `reward` is that of the previous action.

        Raises:
            InvalidData: the observation has another shape.
            ClientError: the server refused.
        """
        seen = np.asarray(observation)
        if not self._spaces.one(seen):
            return await self.adaptation.act(seen)
        if self._episode is not None:
            return self._spaces.action(await self._episode.act(seen, reward))
        return self._spaces.action((await self.adaptation.act(seen[None]))[0])

    async def finish(
        self, observation: Any, reward: float | None = None, success: bool | None = None
    ) -> "AsyncAdaptation":
        """End the episode and learn from it: the next version, which the policy goes on with."""
        episode: AsyncRecordedEpisode = _begun(self._episode)
        self.adaptation = await episode.finish(np.asarray(observation), reward, success)
        self._episode = None
        return self.adaptation
