"""Which weights of a training go into the bundle: those of its end, unless it had clearly better ones on the way.

While the rate falls what was learnt becomes more precise; where tasks are few, they are then learnt by heart as well.
Knows neither policies nor tasks.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metalearn.data.episode import Array
from metalearn.training.schedule import LIKELIER

Weights = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of a policy in tasks that it does not learn from.

    Attributes:
        step: gradient steps before it.
        score: mean success over all attempts, or the held-out likelihood where nobody tries.
        n_rates: success rates that the score is the mean of; 0 of a likelihood.
        weights: of the policy.
    """

    step: int
    score: float
    n_rates: int
    weights: Weights

    def is_better_than(self, other: "Look", n_tasks: int) -> bool:
        """Whether the difference is more than one standard error, or than likelihoods vary by."""
        if not self.n_rates:
            return self.score > other.score + LIKELIER
        p = min(max(self.score, 0.05), 0.95)
        return self.score > other.score + math.sqrt(p * (1 - p) / (n_tasks * self.n_rates))


@dataclass
class BestLook:
    """The best look so far, and the last one."""

    best: Look | None = None
    last: Look | None = None

    def note(
        self, step: int, seen: Mapping[str, float], likelihood: float | None, weights: Callable[[], Weights]
    ) -> None:
        """Take note of a look; one at more attempts than before, or after nothing but a likelihood, begins anew."""
        rates = list(seen.values())
        if not rates and likelihood is None:
            return
        score = sum(rates) / len(rates) if rates else float(likelihood or 0.0)
        self.last = Look(step, score, len(rates), weights())
        if self.best is None or self.best.n_rates != len(rates) or score >= self.best.score:
            self.best = self.last

    def earlier(self, n_tasks: int) -> Look | None:
        """The best look, if it was clearly better than the last one; `n_tasks` were tried at each."""
        if self.best is None or self.last is None or not self.best.is_better_than(self.last, n_tasks):
            return None
        return self.best

    def to_json(self) -> dict[str, Any] | None:
        """The two looks but for their weights."""
        if self.best is None or self.last is None:
            return None
        return {name: [one.step, one.score, one.n_rates] for name, one in (("best", self.best), ("last", self.last))}

    @classmethod
    def from_json(cls, state: Mapping[str, Any] | None, weights: Weights) -> "BestLook":
        """What `to_json` gave, with the weights of the best look."""
        if state is None:
            return cls()

        def look(name: str, weights: Weights) -> Look:
            step, score, n_rates = state[name]
            return Look(step, score, n_rates, weights)

        return cls(look("best", weights), look("last", {}))
