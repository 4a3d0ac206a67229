"""The contract of one kind of ask. Knows no kind by name."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32

from metalearn.data.episode import Episode
from metalearn.data.sentences import MINILM

EXPERT = 1.0
"""The quality of the expert; that of whoever acts at random is 0."""
FARTHEST = 10.0
"""Spreads from the mean beyond which numbers of an ask count as so many: a network has seen none that are farther."""


@dataclass(frozen=True)
class AskOffer:
    """What a model was trained for in one kind of ask, and the units that it reads it in.

    Attributes:
        kind: the name of the kind.
        low: the smallest value of each of n numbers in training.
        high: the largest.
        mean: of each number.
        spread: its standard deviation, not 0.
        encoder: what turned text into numbers, where there is text.
        examples: some values that were asked for in training, as JSON.
        sines: frequencies, in half turns for each unit, of the sines and cosines that are read beside the numbers.
    """

    kind: str
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    encoder: str = ""
    examples: tuple[Any, ...] = ()
    sines: tuple[float, ...] = ()

    @classmethod
    def fitted(cls, kind: str, values: Float[np.ndarray, "m n"], **more: Any) -> "AskOffer":
        """The offer whose units fit m values of n numbers, and whose range is theirs."""
        exact = np.asarray(values, np.float64)
        spread = exact.std(0)
        ends = (exact.min(0), exact.max(0), exact.mean(0), np.where(spread > 0, spread, 1.0))
        low, high, mean, usual = (tuple(float(x) for x in one) for one in ends)
        return cls(kind, low, high, mean, usual, **more)

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "AskOffer":
        """The offer whose fields JSON has."""
        fields: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
        return cls(**fields)

    def scaled(self, values: Sequence[float]) -> Float32[np.ndarray, " n"]:
        """Numbers in the units of the offer, none of them farther than FARTHEST."""
        scaled = (np.asarray(values, np.float64) - self.mean) / self.spread
        return np.clip(scaled, -FARTHEST, FARTHEST).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Hindsight:
    """What is known in training, once an episode is over, about what it would have been an answer to.

    Attributes:
        episode: the whole episode, whose actions are imitated up to `end`.
        end: the number of those steps.
        quality: of whoever acted, from 0, at random, to 1, the expert; None where nobody knows.
        shown: the quality of the demonstrations of the context; None without any, or where nobody knows.
        alike: every episode of the task that began alike and in which the same was done, this one among them: what they
            differ in is luck.
        achieved: what was achieved at each moment of the episode; None for a family that does not say.
        sentences: that describe the task, any of which may be said.
        beyond: what the imitated steps lead towards, if that is to be asked for and not what they achieved.
    """

    episode: Episode
    end: int
    quality: float | None = None
    shown: float | None = None
    alike: Sequence[Episode] = ()
    achieved: Float[np.ndarray, "t1 g"] | None = None
    sentences: Sequence[str] = ()
    beyond: Float[np.ndarray, " g"] | None = None


class AskKind(ABC):
    """One thing that can be asked of the next attempt, as a frozen and hashable value.

    Attributes:
        name: the key under which it travels, as `return` in `{"return": 120.0}`.
        of_outcome: whether the label says how an episode went, so that in training any episode answers some ask of
            this kind; else it says what the task is, and only the expert's episodes answer it.
        of_moment: whether it is about the moment at which the imitated steps end, which may then be any.
        needs: what training data of this kind need, in a few words.
        typed: an example as somebody types it in a shell, with `=` if a value of this kind has to be given.
    """

    name: ClassVar[str]
    of_outcome: ClassVar[bool]
    of_moment: ClassVar[bool] = False
    needs: ClassVar[str]
    typed: ClassVar[str]

    @abstractmethod
    def to_json(self) -> Any:
        """The value under its key: plain JSON, the same for equal values."""

    @classmethod
    @abstractmethod
    def from_json(cls, value: Any) -> "AskKind":
        """The value again. Raises InvalidData, naming field, expected and got; the field begins with `ask.NAME`."""

    @classmethod
    @abstractmethod
    def in_hindsight(cls, known: Hindsight, rng: np.random.Generator) -> "AskKind | None":
        """Something of this kind that the episode was an answer to; None if there is nothing."""

    @classmethod
    @abstractmethod
    def offer(cls, labels: Sequence["AskKind"], encoder: str = MINILM) -> AskOffer:
        """What a model is trained for whose training data have these labels, of which there is at least one.

        `encoder` names what turns text into numbers (`metalearn.data.sentences`), for kinds with text.
        """

    @classmethod
    @abstractmethod
    def size(cls, offer: AskOffer) -> int:
        """How many numbers `features` gives."""

    @classmethod
    @abstractmethod
    def accepted(cls, offer: AskOffer) -> str:
        """What a model with this offer can be asked for, in a few words, as "a number from 0 to 120"."""

    @abstractmethod
    def check(self, offer: AskOffer) -> None:
        """Raise InvalidData unless a model with this offer can be asked for the value."""

    def remark(self, offer: AskOffer) -> str | None:
        """What its user should know about a value that a model takes for another one, in a sentence."""
        return None

    @classmethod
    def from_text(cls, text: str) -> Any:
        """The JSON that somebody means who writes NAME=text in a shell, unchecked; "true" is that of NAME alone."""
        try:
            return json.loads(text)
        except ValueError:
            return text

    @abstractmethod
    def features(self, offer: AskOffer) -> Float32[np.ndarray, " k"]:
        """The numbers that networks read, each of the order of 1."""
