"""A share between 0 and 1 with its 95% interval, of so many episodes. Knows numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metalearn.data.episode import Array
from metalearn.evaluation.statistics import wilson


@dataclass(frozen=True)
class Share:
    """A share of `n` episodes, and Wilson's interval of it."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float] | Array) -> "Share":
        """The mean of `[n]` values between 0 and 1: outcomes, or success rates of several attempts each."""
        values = np.asarray(values, np.float64)
        mean, n = float(values.mean()), len(values)
        return cls(mean, *wilson(round(mean * n), n), n)

    @property
    def percent(self) -> str:
        """Without its interval, as `51 %`."""
        return f"{100 * self.value:.0f} %"

    def __str__(self) -> str:
        low, high = round(100 * self.low), round(100 * self.high)
        return f"{self.percent} ({low}..{high})"
