"""How many episodes an inspection plays: as many as its time allows, by how long one takes here. Pure."""

from dataclasses import dataclass, replace

BUDGET_S = 12.0
"""Seconds that all episodes together may take, where that is enough for the fewest."""


@dataclass(frozen=True)
class Plan:
    """Numbers of tasks.

    Attributes:
        played: in which the expert and random actions are counted.
        recorded: that are compared with each other, and demonstrated as a training would.
        told: of which is compared what a demonstration and a trial tell.
        layouts: seeds in which that is done.
        picks: other tasks whose actions are replayed for each of them and each state of knowledge.
    """

    played: int
    recorded: int
    told: int
    layouts: int
    picks: int

    @classmethod
    def of(cls, episode_s: float, budget_s: float, n_tasks: int | None, n_train: int) -> "Plan":
        """What the time allows; `n_tasks` instead, if it is given, and never more than there are.

        Args:
            episode_s: seconds that an episode of the expert takes.
            budget_s: that all of them may take.
            n_tasks: asked for.
            n_train: tasks of the training split.
        """
        most = n_train if n_tasks is None else min(n_tasks, n_train)
        plans = [plan.at_most(most, exactly=n_tasks is not None) for plan in PLANS]
        return next((plan for plan in plans if plan.n_episodes * episode_s <= budget_s), plans[-1])

    def at_most(self, most: int, *, exactly: bool) -> "Plan":
        """With no more tasks than `most`; `exactly` so many are compared."""
        told = most if exactly else min(self.told, most)
        return replace(self, played=min(self.played, most), recorded=min(self.recorded, most), told=told)

    @property
    def n_episodes(self) -> int:
        """About how many episodes it takes in all."""
        return 4 * self.played + 5 * self.recorded + self.told * self.layouts * (3 + 3 * self.picks)


PLANS = (
    Plan(played=64, recorded=64, told=192, layouts=3, picks=4),
    Plan(played=48, recorded=48, told=96, layouts=2, picks=2),
    Plan(played=24, recorded=24, told=48, layouts=1, picks=1),
)
"""From the most episodes to the fewest."""
