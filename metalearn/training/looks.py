"""When a training looks at validation tasks: every so many steps, and as often as the time that it has allows.

Knows neither policies nor tasks; the clock is an argument.
"""

from dataclasses import dataclass

LOOKS = 20  # at least, in a training of so many steps
LOOKING = 0.2  # the most of the time of a training that looks may take
LEAST_OFTEN = 0.04  # of the minutes: a phase must not go on for long after it has brought what it can


@dataclass
class Looks:
    """The looks of one run.

    Attributes:
        check_steps: gradient steps between two looks, if they take as long as any.
        minutes: that the training may take, or None if its steps alone decide; then so do they here.
    """

    check_steps: int
    minutes: float | None
    _at_step: int = 0
    _at_s: float | None = None
    _cost_s: float = 0.0

    def due(self, step: int, now_s: float, *, again: bool = False) -> bool:
        """Whether it is time for a look after `step` steps, at the time `now_s` of a steady clock.

        If it is to be seen `again` what the last one saw, so that the training can go on, then whatever a look costs.
        """
        if again and step - self._at_step >= self.check_steps:
            return True
        if self.minutes is None:
            return step % self.check_steps == 0
        if self._at_s is None:
            self._at_s = now_s
        since_s = now_s - self._at_s
        if since_s < self._cost_s * (1 - LOOKING) / LOOKING:
            return False
        return step - self._at_step >= self.check_steps or since_s >= LEAST_OFTEN * 60 * self.minutes

    def took(self, step: int, began_s: float, ended_s: float) -> None:
        """Take note of a look after `step` steps, that began and ended at these times."""
        self._at_step, self._at_s, self._cost_s = step, ended_s, ended_s - began_s
