"""The ask for a goal. In hindsight: what was achieved at some moment of an episode, when its actions led there.

Andrychowicz et al., "Hindsight experience replay" (2017), the strategy "future"; Ghosh et al., "Learning to reach
goals via iterated supervised learning" (2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from metalearn.data.asks.kind import AskKind, AskOffer, Hindsight
from metalearn.data.asks.numbers import numbers_in_a_row
from metalearn.data.errors import InvalidData
from metalearn.data.sentences import MINILM

N_EXAMPLES = 3
MOST_RANGES = 8
SINES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Goal(AskKind):
    """What is to be achieved, as the family reads it from an observation (`achieved_goal`)."""

    name = "goal"
    of_outcome = True
    of_moment = True
    needs = "a family with the method achieved_goal, or observations with a part achieved_goal"
    typed = "goal=0.3,0.2"

    value: tuple[float, ...]

    def to_json(self) -> list[float]:
        """The numbers."""
        return list(self.value)

    @classmethod
    def from_json(cls, value: object) -> "Goal":
        """The ask of a list of numbers. Raises InvalidData."""
        return cls(numbers_in_a_row("ask.goal", value))

    @classmethod
    def in_hindsight(cls, known: Hindsight, rng: np.random.Generator) -> "Goal | None":
        """What was achieved when the imitated steps end, or lies beyond; None for a family that does not say."""
        if known.achieved is None:
            return None
        reached = known.achieved[known.end] if known.beyond is None else known.beyond
        return cls(tuple(float(x) for x in reached))

    @classmethod
    def offer(cls, labels: Sequence[AskKind], encoder: str = MINILM) -> AskOffer:
        """The range of each number."""
        values = np.array([label.to_json() for label in labels])
        few = values[:: max(1, len(values) // N_EXAMPLES)][:N_EXAMPLES]
        examples = tuple([float(f"{x:.4g}") for x in row] for row in few)
        return AskOffer.fitted(cls.name, values, examples=examples, sines=SINES)

    @classmethod
    def size(cls, offer: AskOffer) -> int:
        """The numbers of a goal, and their sines and cosines."""
        return len(offer.mean) * (1 + 2 * len(offer.sines))

    @classmethod
    def accepted(cls, offer: AskOffer) -> str:
        """The numbers of a goal, and the trained ranges of a few."""
        n = len(offer.mean)
        if n > MOST_RANGES:
            return f"a list of {n} numbers"
        ranges = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in zip(offer.low, offer.high, strict=True))
        return f"a list of {n} number{'s' * (n > 1)} from {ranges}"

    def remark(self, offer: AskOffer) -> str | None:
        """The first number that no goal of training had."""
        for i, (value, low, high) in enumerate(zip(self.value, offer.low, offer.high, strict=True)):
            if not low <= value <= high:
                return f"goal[{i}] is {value:.4g}, and those of training were {low:.4g} to {high:.4g}"
        return None

    @classmethod
    def from_text(cls, text: str) -> Any:
        """Numbers with commas in between, or JSON."""
        return super().from_text(text if text.startswith("[") else f"[{text}]")

    def check(self, offer: AskOffer) -> None:
        """Raise InvalidData unless it has as many numbers as the goals of training."""
        if len(self.value) != len(offer.mean):
            raise InvalidData("ask.goal", f"{len(offer.mean)} numbers", str(len(self.value)))

    def features(self, offer: AskOffer) -> Float32[np.ndarray, " g"]:
        """The numbers, scaled, and their sines and cosines: to either side of a wall goals must look different."""
        scaled = offer.scaled(self.value)
        if not offer.sines:  # as before there were any
            return scaled
        phases = np.outer(np.pi * np.array(offer.sines, np.float32), scaled).ravel()
        return np.concatenate([scaled, np.sin(phases), np.cos(phases)]).astype(np.float32)
