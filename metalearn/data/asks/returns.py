"""The ask for a return. In hindsight: what the actions of an episode brought on average, which is not its luck.

Schmidhuber, "Reinforcement learning upside down" (2019); Kumar et al., "Reward-conditioned policies" (2019); on luck,
Paster, McIlraith and Ba, "You can't count on luck" (2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from metalearn.data.asks.kind import AskKind, AskOffer, Hindsight
from metalearn.data.asks.numbers import number
from metalearn.data.sentences import MINILM

N_EXAMPLES = 5
USUAL = (0.01, 0.99)
"""Quantiles of the returns in training between which one can be asked for; beyond them they are rare, often luck."""


@dataclass(frozen=True)
class Return(AskKind):
    """An undiscounted sum of rewards, in the environment's unit.

    What lies outside the range that a model was trained on counts as its nearest end: nobody showed how to get it.
    """

    name = "return"
    of_outcome = True
    needs = "rewards"
    typed = "return=120"

    value: float

    def to_json(self) -> float:
        """The number."""
        return self.value

    @classmethod
    def from_json(cls, value: object) -> "Return":
        """The ask of a number. Raises InvalidData."""
        return cls(number("ask.return", value))

    @classmethod
    def in_hindsight(cls, known: Hindsight, rng: np.random.Generator) -> "Return | None":
        """The mean return of the episodes in which the same was done; None without rewards."""
        found = [float(e.rewards.sum(dtype=np.float64)) for e in known.alike if e.rewards is not None]
        return cls(float(np.mean(found))) if found else None

    @classmethod
    def offer(cls, labels: Sequence[AskKind], encoder: str = MINILM) -> AskOffer:
        """The usual range of returns, and examples spread over it."""
        values = np.array([label.to_json() for label in labels])
        values = values.clip(*np.quantile(values, USUAL))
        shown = np.quantile(values, np.linspace(0, 1, N_EXAMPLES))
        return AskOffer.fitted(cls.name, values[:, None], examples=tuple(float(f"{x:.4g}") for x in shown))

    @classmethod
    def size(cls, offer: AskOffer) -> int:
        """One."""
        return 1

    @classmethod
    def accepted(cls, offer: AskOffer) -> str:
        """A number, and the trained range."""
        return f"a number from {offer.low[0]:.4g} to {offer.high[0]:.4g}"

    def check(self, offer: AskOffer) -> None:
        """Every number can be asked for."""

    def remark(self, offer: AskOffer) -> str | None:
        """The end of the trained range as which the number counts, if it is outside."""
        counted = self._counted(offer)
        if counted == self.value:
            return None
        return (
            f"return is {self.value:.4g}, and those of training were {offer.low[0]:.4g} to {offer.high[0]:.4g}: it "
            f"counts as {counted:.4g}"
        )

    def features(self, offer: AskOffer) -> Float32[np.ndarray, " 1"]:
        """The return within the trained range, scaled."""
        return offer.scaled([self._counted(offer)])

    def _counted(self, offer: AskOffer) -> float:
        return min(max(self.value, offer.low[0]), offer.high[0])
