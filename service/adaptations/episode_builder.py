"""An episode in progress: its steps so far, and the rules for the next one.

Recorded episodes and streams share these rules. Pure: knows no storage, runtime or clock.
"""

from dataclasses import dataclass, field

import numpy as np

from metalearn.adapter import Belief
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from service.adaptations.records import Adaptation
from service.errors import EpisodeEmpty, EpisodeOver


def commit(adaptation: Adaptation, belief: Belief, explore: bool | None, rng: np.random.Generator) -> tuple[bool, int]:
    """Decide if an episode explores, and choose the one hypothesis that it acts under.

    It explores if the client asks for it, and by default until a trial has been scored. It then samples its hypothesis
    from the belief (posterior sampling); otherwise it takes the most probable hypothesis.
    """
    explore = not adaptation.scored if explore is None else explore
    return explore, belief.sample(rng) if explore else belief.map_hypothesis


@dataclass(eq=False)
class EpisodeBuilder:
    """The steps of one episode.

    Attributes:
        horizon: the largest number of steps.
        observations: `[*o]` each; `actions[i]` follows `observations[i]`.
        actions: `[a]` or a scalar each.
        rewards: `rewards[i]` is the reward of `actions[i]`; None if the client sent none.
    """

    horizon: int
    observations: list[Array] = field(default_factory=list)
    actions: list[Array] = field(default_factory=list)
    rewards: list[float | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.actions)

    def check(self, reward: float | None) -> None:
        """Check that the episode can take another step.

        Raises:
            EpisodeOver: the episode has reached its horizon.
            InvalidData: a reward other than 0 before the first action.
        """
        if len(self) >= self.horizon:
            raise EpisodeOver(f"the episode has its {self.horizon} steps and can only be finished")
        if reward and not self.actions:
            raise InvalidData("reward", "none before the first action", str(reward))

    def append(self, observation: Array, action: Array, reward: float | None) -> None:
        """Add a step; `reward` is that of the previous action."""
        if self.actions:
            self.rewards.append(reward)
        self.observations.append(observation)
        self.actions.append(action)

    def finish(self, observation: Array, reward: float | None, success: bool | None) -> Episode:
        """Return the whole episode. If any step has a reward, the others get 0.

        Raises:
            EpisodeEmpty: the episode has no actions.
            InvalidData: the observations or actions do not fit together.
        """
        if not self.actions:
            raise EpisodeEmpty("the episode has no actions: there is nothing to learn from")
        rewards = [*self.rewards, reward]
        return Episode.of(
            observations=np.stack([*self.observations, observation]),
            actions=np.stack(self.actions),
            rewards=None if all(r is None for r in rewards) else [r or 0.0 for r in rewards],
            success=success,
        )
