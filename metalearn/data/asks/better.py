"""The ask to be better than the demonstrations. In hindsight: how much better whoever acted was than who was watched.

Brown, Goo and Niekum, "Better-than-demonstrator imitation learning via automatically-ranked demonstrations" (2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from metalearn.data.asks.kind import EXPERT, AskKind, AskOffer, Hindsight
from metalearn.data.asks.numbers import number
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.sentences import MINILM

EXPECTED = "true, or a number from 0 to 1"


@dataclass(frozen=True)
class Better(AskKind):
    """By how much to be better: 1 is what lies between acting at random and the expert; True is as good as can be."""

    name = "better"
    of_outcome = True
    needs = "demonstrations, and demonstrators of less skill (data.graded_per_task)"
    typed = "better"

    by: float | None = None

    def to_json(self) -> float | bool:
        """True, or the number."""
        return True if self.by is None else self.by

    @classmethod
    def from_json(cls, value: object) -> "Better":
        """The ask of true, or of a number from 0 to 1. Raises InvalidData."""
        if value is True:
            return cls()
        by = number("ask.better", value, expected=EXPECTED)
        if not 0 <= by <= 1:
            raise InvalidData("ask.better", EXPECTED, f"{by:g}")
        return cls(by)

    @classmethod
    def in_hindsight(cls, known: Hindsight, rng: np.random.Generator) -> "Better | None":
        """The difference, unless it was worse; where the expert acted, now and then just "as good as can be"."""
        if known.quality is None or known.shown is None or known.quality < known.shown:
            return None
        if known.quality >= EXPERT and rng.random() < 0.5:
            return cls()
        return cls(round(known.quality - known.shown, 6))

    @classmethod
    def offer(cls, labels: Sequence[AskKind], encoder: str = MINILM) -> AskOffer:
        """The range of differences. Raises InvalidConfig if nobody was better than anybody."""
        differences = [label.by for label in labels if isinstance(label, Better) and label.by is not None]
        if not any(differences):
            raise InvalidConfig(f"model.asks: better: expected training data with {cls.needs}, got none")
        return AskOffer.fitted(cls.name, np.array(differences)[:, None], examples=(True, 0.25))

    @classmethod
    def size(cls, offer: AskOffer) -> int:
        """Whether it is as good as can be, and the difference."""
        return 2

    @classmethod
    def accepted(cls, offer: AskOffer) -> str:
        """The same for every model."""
        return EXPECTED

    def check(self, offer: AskOffer) -> None:
        """Every difference can be asked for."""

    def features(self, offer: AskOffer) -> Float32[np.ndarray, " 2"]:
        """[1, 0] for as good as can be, else [0, the difference, scaled]."""
        if self.by is None:
            return np.array([1, 0], np.float32)
        return np.array([0, offer.scaled([self.by])[0]], np.float32)
