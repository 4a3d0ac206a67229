"""Which weights of a training go into the bundle: those of its end, unless it had clearly better ones on the way.

While the rate falls what was learnt becomes more precise; where tasks are few, they are then learnt by heart as well.
Knows neither policies nor tasks.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.training.schedule import LIKELIER, rates_of_attempts, returns_more, standard_error

Weights = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of a policy in tasks that it does not learn from.

    Attributes:
        step: gradient steps before it.
        score: mean success over all attempts, or the held-out likelihood where nobody tries.
        rates: success of the first, second, ... attempt, whose mean the score is; none of a likelihood.
        weights: of the policy.
    """

    step: int
    score: float
    rates: tuple[float, ...]
    weights: Weights

    def is_better_than(self, other: "Look", n_tasks: int) -> bool:
        """Whether the difference is more than one standard error, or than likelihoods vary by."""
        error = standard_error(self.score, n_tasks * len(self.rates)) if self.rates else LIKELIER
        return self.score > other.score + error

    def is_nowhere_worse_than(self, other: "Look", n_tasks: int) -> bool:
        """Whether no attempt succeeds less often, by more than one standard error of the difference."""
        pairs = zip(self.rates, other.rates, strict=True)
        return all(
            mine >= theirs - math.hypot(standard_error(mine, n_tasks), standard_error(theirs, n_tasks))
            for mine, theirs in pairs
        )


@dataclass
class BestLook:
    """The best look so far, and the last one.

    Attributes:
        best: the best one.
        last: the last one.
        value: the best that recorded returns have said of the policy, where nobody tries.
    """

    best: Look | None = None
    last: Look | None = None
    value: float | None = None

    def note(
        self, step: int, seen: Mapping[str, float], known: Mapping[str, float], weights: Callable[[], Weights]
    ) -> None:
        """Take note of a look; one at more attempts than before, or after nothing but a likelihood, begins anew.

        So does one of which recorded returns say that it is better than all before, by more than their standard error.

        Args:
            step: gradient steps before it.
            seen: success rates in validation tasks.
            known: `likelihood` of what is held out, and `value` with `value_error`, as far as there are any.
            weights: gives those of the policy.
        """
        likelihood = known.get("likelihood")
        rates = rates_of_attempts(seen)
        if not rates and likelihood is None:
            return
        score = sum(rates) / len(rates) if rates else float(likelihood or 0.0)
        self.last = Look(step, score, rates, weights())
        preferred = returns_more(known, self.value)
        if preferred:
            self.value = known["value"]
        if self.best is None or preferred or len(self.best.rates) != len(rates) or score >= self.best.score:
            self.best = self.last

    def earlier(self, n_tasks: int) -> Look | None:
        """The best look, if it was clearly better than the last one; `n_tasks` were tried at each."""
        if self.best is None or self.last is None or not self.best.is_better_than(self.last, n_tasks):
            return None
        return self.best

    def surely_earlier(self, n_tasks: int) -> Look | None:
        """The best look, if it was clearly better than the last one, and at no attempt worse.

        Where first attempts have learnt something that later ones cannot yet build on, there is none to go back to.
        """
        earlier = self.earlier(n_tasks)
        if earlier is None or self.last is None or not earlier.is_nowhere_worse_than(self.last, n_tasks):
            return None
        return earlier

    def to_json(self) -> dict[str, Any] | None:
        """The two looks but for their weights, and the value."""
        if self.best is None or self.last is None:
            return None
        looks = {name: [one.step, one.score, one.rates] for name, one in (("best", self.best), ("last", self.last))}
        return looks | {"value": self.value}

    @classmethod
    def from_json(cls, state: Mapping[str, Any] | None, weights: Weights) -> "BestLook":
        """What `to_json` gave, with the weights of the best look. Raises InvalidConfig if another version wrote it."""
        if state is None:
            return cls()

        def look(name: str, weights: Weights) -> Look:
            step, score, rates = state[name]
            return Look(step, score, tuple(rates), weights)

        try:
            return cls(look("best", weights), look("last", {}), state.get("value"))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidConfig("its checkpoint is of another version; train it anew, with another --out") from error
