"""Asks for tests: what a model was trained for, and a kind that no model was."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from jaxtyping import Float32

from metalearn.data.asks import AskKind, AskOffer, Better, Goal, Hindsight, Return, Words
from metalearn.data.sentences import MINILM

OFFERS = (
    Return.offer([Return(float(value)) for value in (-20, *range(-20, 121, 20), 120)]),
    Goal.offer([Goal((x, y)) for x in (-1.0, 1.0) for y in (0.0, 0.25, 0.5)]),
    Better.offer([Better(0.0), Better(0.8), Better()]),
    Words.offer([Words(f"move to object number {number}") for number in ("one", "two")], "bag-of-words"),
)
"""Returns from -20 to 120, goals of two numbers, better, and words."""
TRAINED = {"asks": [offer.kind for offer in OFFERS], "ask_offers": [asdict(offer) for offer in OFFERS]}
"""The part of a model's configuration that says so."""


class Urgency(AskKind):
    """How few steps the next attempt may take, as a share of the longest one in training."""

    name = "urgency"
    of_outcome = True
    needs = "episodes"
    typed = "urgency=0.5"

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
    def offer(cls, labels: Sequence[AskKind], encoder: str = MINILM) -> AskOffer:
        return AskOffer.fitted(cls.name, np.array([[label.to_json()] for label in labels]))

    @classmethod
    def size(cls, offer: AskOffer) -> int:
        return 1

    @classmethod
    def accepted(cls, offer: AskOffer) -> str:
        return "a number"

    def check(self, offer: AskOffer) -> None:
        return

    def features(self, offer: AskOffer) -> Float32[np.ndarray, " 1"]:
        return offer.scaled([self.value])
