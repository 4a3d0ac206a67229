"""An episode in the making: what was seen and done so far, and what may come next.

The rules that recorded episodes and streams share are here and nowhere else. Pure: knows no storage, runtime or clock.
"""

from dataclasses import dataclass, field

import numpy as np

from metalearn.adapter import Belief
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from service.adaptations.records import Adaptation
from service.errors import EpisodeEmpty, EpisodeOver


def commit(adaptation: Adaptation, belief: Belief, explore: bool | None, rng: np.random.Generator) -> tuple[bool, int]:
    """Whether an episode explores, and the one hypothesis that it acts under.

    It explores where the client says so, and by default until a trial has been scored. An episode that explores samples
    its hypothesis from the belief (posterior sampling); another one takes the most probable hypothesis.
    """
    explore = not adaptation.scored if explore is None else explore
    return explore, belief.sample(rng) if explore else belief.map_hypothesis


@dataclass(eq=False)
class EpisodeBuilder:
    """The steps of one episode.

    Attributes:
        horizon: the most steps that it may have.
        observations: `[*o]` each; `observations[i]` is what `actions[i]` answered.
        actions: `[a]` or a scalar each.
        rewards: `rewards[i]` is what `actions[i]` earned; None where the client did not say.
    """

    horizon: int
    observations: list[Array] = field(default_factory=list)
    actions: list[Array] = field(default_factory=list)
    rewards: list[float | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.actions)

    def check(self, reward: float | None) -> None:
        """Refuse what cannot be the next step.

        Raises:
            EpisodeOver: the episode has all its steps.
            InvalidData: a reward other than 0 before anything was done.
        """
        if len(self) >= self.horizon:
            raise EpisodeOver(f"the episode has its {self.horizon} steps and can only be finished or reset")
        if reward and not self.actions:
            raise InvalidData("reward", "none before the first action", str(reward))

    def append(self, observation: Array, action: Array, reward: float | None) -> None:
        """Add a step; `reward` is what the action before it earned."""
        if self.actions:
            self.rewards.append(reward)
        self.observations.append(observation)
        self.actions.append(action)

    def finish(self, observation: Array, reward: float | None, success: bool | None) -> Episode:
        """The whole episode. If any reward was sent, a step without one earned nothing.

        Raises:
            EpisodeEmpty: no action was asked for.
        """
        if not self.actions:
            raise EpisodeEmpty("no action was asked for in this episode: there is nothing to learn from")
        rewards = [*self.rewards, reward]
        return Episode.of(
            observations=np.stack([*self.observations, observation]),
            actions=np.stack(self.actions),
            rewards=None if all(r is None for r in rewards) else [r or 0.0 for r in rewards],
            success=success,
        )
