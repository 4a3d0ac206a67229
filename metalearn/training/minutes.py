"""How the minutes that a training may take are spent: the most of them that each part gets, all in one place.

What needs less leaves the rest unused. What is fitted to the episodes of a calibration takes seconds, and has no share.
Baselines that are trained for comparison come after the minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

LEARNING = 0.81
"""Until the last gradient step, with all demonstrations, trials and looks before it."""

DEMONSTRATIONS, TRIALS, LOOK = 0.2, 0.06, 0.02
"""Of these: demonstrations of training tasks, the trials of one round, one look at validation tasks."""

SEARCH, KEEPING = 0.03, 5 * LOOK
"""After it: what solves which validation tasks, and looks at the last and best weights, then with search and memory."""

SHOWN_FOR_CONFIDENCE, TRIED_FOR_CONFIDENCE, RECOGNITION = 0.005, 0.03, 0.02
"""Then: demonstrations and attempts that calibrate confidence, and experts that calibrate recognition."""

CALIBRATION = SHOWN_FOR_CONFIDENCE + TRIED_FOR_CONFIDENCE + RECOGNITION
AFTER_LEARNING = SEARCH + KEEPING + CALIBRATION


@dataclass
class Ending:
    """When what follows the training of a policy ends: its calibration, then, at their own speed, its baselines.

    Attributes:
        minutes: that the training may take; None: it learns for a given number of steps.
        baselines: that are trained, in this order.
        now: a clock in seconds.
    """

    minutes: float | None
    baselines: tuple[str, ...] = ()
    now: Callable[[], float] = monotonic
    _began_s: dict[bool, float] = field(default_factory=dict)

    def in_s(self, part: str, done: int, total: int) -> float | None:
        """Seconds until the policy is calibrated, or the baselines are trained; None where nobody knows yet.

        Args:
            part: that goes on: a baseline, or of the calibration.
            done: of it.
            total: of it.
        """
        baseline = part in self.baselines
        spent_s = self.now() - self._began_s.setdefault(baseline, self.now())
        if not baseline:
            return None if self.minutes is None else max(0.0, CALIBRATION * 60 * self.minutes - spent_s)
        share = (self.baselines.index(part) + done / max(1, total)) / len(self.baselines)
        return spent_s / share * (1 - share) if spent_s > 0 and share > 0 else None
