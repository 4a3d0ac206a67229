"""How the minutes that a training may take are spent: the most of them that each part gets, all in one place.

What needs less leaves the rest unused. Baselines that are trained for comparison come after the minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

LEARNING = 0.85
"""Until the last gradient step, with all demonstrations, trials and looks before it."""

DEMONSTRATIONS, TRIALS, LOOK = 0.2, 0.06, 0.02
"""Of these: demonstrations of training tasks, the trials of one round, one look at validation tasks."""

SEARCH, KEEPING = 0.03, 3 * LOOK
"""After it: what solves which validation tasks, and looks with and without a search and a memory."""

SHOWN_FOR_CONFIDENCE, TRIED_FOR_CONFIDENCE, RECOGNITION = 0.005, 0.03, 0.02
"""Then: demonstrations and attempts that calibrate confidence, and experts that calibrate recognition."""

AFTER_LEARNING = SEARCH + KEEPING + SHOWN_FOR_CONFIDENCE + TRIED_FOR_CONFIDENCE + RECOGNITION


@dataclass
class Ending:
    """When what follows the learning ends: the policy with the minutes, then, at their own speed, its baselines.

    Attributes:
        minutes: that it may take; None: it learns for a given number of steps.
        baselines: that are trained afterwards, in this order.
        now: a clock in seconds.
    """

    minutes: float | None
    baselines: tuple[str, ...] = ()
    now: Callable[[], float] = monotonic
    began_s: float = field(init=False)
    baselines_began_s: float | None = None

    def __post_init__(self) -> None:
        self.began_s = self.now()

    def in_s(self, part: str, done: int, total: int) -> float | None:
        """Seconds until the policy, or during a baseline all of these, are there; None where nobody knows yet."""
        if part not in self.baselines:
            return None if self.minutes is None else max(0.0, 60 * self.minutes - (self.now() - self.began_s))
        if self.baselines_began_s is None:
            self.baselines_began_s = self.now()
        share = (self.baselines.index(part) + done / max(1, total)) / len(self.baselines)
        spent = self.now() - self.baselines_began_s
        return spent / share * (1 - share) if spent > 0 and share > 0 else None
