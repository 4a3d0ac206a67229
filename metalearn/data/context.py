"""What the policy conditions on: demonstrations, its own trials in order, and what is asked for."""

from dataclasses import dataclass, replace

from metalearn.data.asks import NOTHING, Ask
from metalearn.data.episode import Episode


@dataclass(frozen=True)
class Context:
    """Any number K >= 0 of demonstrations and L >= 0 of own trials of one task. Immutable.

    `ask` is what the user asks for beyond "solve it"; a model refuses kinds that it was not trained for.
    """

    demos: tuple[Episode, ...] = ()
    trials: tuple[Episode, ...] = ()
    ask: Ask = NOTHING

    def with_demos(self, *demos: Episode) -> "Context":
        """A new context that has also seen `demos`."""
        return replace(self, demos=self.demos + demos)

    def with_trial(self, *trials: Episode) -> "Context":
        """A new context that has also tried `trials`."""
        return replace(self, trials=self.trials + trials)

    @property
    def scored(self) -> bool:
        """Whether at least one trial was scored; until then an actor explores."""
        return any(trial.scored for trial in self.trials)
