"""A served adaptation as a callable for the loops that people have already: Gymnasium's, Minari's, vectorised ones.

Knows shapes; does not know environments.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData

if TYPE_CHECKING:
    from service.client.blocking import Adaptation, RecordedEpisode


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
        self._shape = tuple(spec["observation_space"]["shape"])
        self._discrete = spec["action_space"]["type"] == "discrete"
        self._explore = explore
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
        if seen.shape == self._shape:
            if self._episode is not None:
                return self._as_action(self._episode.act(seen, reward))
            return self._as_action(self.adaptation.act(seen[None])[0])
        if seen.ndim == len(self._shape) + 1 and seen.shape[1:] == self._shape:
            return self.adaptation.act(seen)
        expected = ", ".join(map(str, self._shape))
        raise InvalidData("observation", f"shape [{expected}] or [n, {expected}]", f"shape {list(seen.shape)}")

    def finish(self, observation: Any, reward: float | None = None, success: bool | None = None) -> "Adaptation":
        """End the episode and learn from it: the next version, which the policy goes on with."""
        if self._episode is None:
            raise InvalidData("episode", "one that was begun with reset()", "none")
        self.adaptation = self._episode.finish(np.asarray(observation), reward, success)
        self._episode = None
        return self.adaptation

    def _as_action(self, action: Any) -> Array | int:
        """What `env.step` takes: an int where actions are discrete."""
        return int(action) if self._discrete else np.asarray(action)
