"""A kind of ask for tests."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from metalearn.data.asks import AskKind, AskOffer, Hindsight


class Urgency(AskKind):
    """How few steps the next attempt may take, as a share of the longest one in training."""

    name = "urgency"
    of_outcome = True
    needs = "episodes"

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def to_json(self) -> float:
        return self.value

    @classmethod
    def from_json(cls, value: object) -> "Urgency":
        return cls(float(str(value)))

    @classmethod
    def in_hindsight(cls, known: Hindsight, rng: np.random.Generator) -> "Urgency":
        return cls(float(len(known.episode)))

    @classmethod
    def offer(cls, labels: Sequence[AskKind], encoder: str) -> AskOffer:
        return AskOffer.fitted(cls.name, np.array([[label.to_json()] for label in labels]))

    @classmethod
    def size(cls, offer: AskOffer) -> int:
        return 1

    def check(self, offer: AskOffer) -> None:
        return

    def features(self, offer: AskOffer) -> Float32[np.ndarray, " 1"]:
        return offer.scaled([self.value])
