"""What is asked of the next attempt beyond "solve the task that was shown": an `Ask`, part of every context.

A new kind is a module here (see `kind`) and its name in `KINDS`; contexts, storage, export and the API carry it from
then on. What a trained model makes of it belongs in `metalearn.model`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float32

from metalearn.data.asks.better import Better
from metalearn.data.asks.goals import Goal
from metalearn.data.asks.kind import AskKind, AskOffer, Hindsight
from metalearn.data.asks.returns import Return
from metalearn.data.asks.words import Words
from metalearn.data.errors import InvalidConfig, InvalidData

__all__ = [
    "KINDS",
    "NOTHING",
    "Ask",
    "AskKind",
    "AskOffer",
    "Better",
    "Goal",
    "Hindsight",
    "Return",
    "Words",
    "accepted",
    "features_of",
    "kinds_of",
    "sizes_of",
]

KINDS: tuple[type[AskKind], ...] = (Return, Goal, Better, Words)
"""Every kind that there is."""

_N_SHOWN = 80


@dataclass(frozen=True)
class Ask:
    """At most one value of each kind, in the order of `KINDS`; none of them asks for nothing.

    Raises:
        InvalidData: two values of one kind.
    """

    values: tuple[AskKind, ...] = ()

    def __post_init__(self) -> None:
        names = [value.name for value in self.values]
        if len(set(names)) < len(names):
            raise InvalidData("ask", "at most one value of each kind", ", ".join(names))

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the kinds that are asked for."""
        return tuple(value.name for value in self.values)

    def check(self, offers: Sequence[AskOffer]) -> None:
        """Raise InvalidData unless a model with these offers can follow."""
        _check_names(self.kinds, offers)
        trained = {offer.kind: offer for offer in offers}
        for value in self.values:
            value.check(trained[value.name])

    def remarks(self, offers: Sequence[AskOffer]) -> tuple[str, ...]:
        """What its user should know about values that a model with these offers takes for others."""
        trained = {offer.kind: offer for offer in offers}
        found = (value.remark(trained[value.name]) for value in self.values if value.name in trained)
        return tuple(remark for remark in found if remark is not None)

    def to_json(self) -> dict[str, Any]:
        """The values by the names of their kinds."""
        return {value.name: value.to_json() for value in self.values}

    @classmethod
    def received(cls, value: object, offers: Sequence[AskOffer]) -> "Ask":
        """What a client asks of a model with these offers. Raises InvalidData unless the model can follow."""
        if isinstance(value, Mapping):
            _check_names(value, offers)
        ask = cls.from_json(value)
        ask.check(offers)
        return ask

    @classmethod
    def from_json(cls, value: object) -> "Ask":
        """What `to_json` wrote, or what a client sent, in which arrays are lists; None asks for nothing.

        Raises:
            InvalidData: no object, or a kind that there is not.
        """
        if value is None:
            return NOTHING
        if not isinstance(value, Mapping):
            raise InvalidData("ask", "an object or null", type(value).__name__)
        known = {kind.name: kind for kind in KINDS}
        unknown = [name for name in value if name not in known]
        if unknown:
            expected = f"some of {', '.join(known)}" if known else "null: no kind of ask is offered yet"
            raise InvalidData("ask", expected, _shown(unknown))
        return cls(tuple(kind.from_json(_plain(value[name])) for name, kind in known.items() if name in value))


NOTHING = Ask()
"""What asks for nothing but to solve the task."""


def features_of(asks: Sequence[Ask], offers: Sequence[AskOffer]) -> Float32[np.ndarray, "b n"]:
    """What networks read of the asks of b contexts: of each kind its numbers, and whether it is asked for.

    Zeros where it is not.
    """
    ends = np.cumsum([0, *sizes_of(offers)])
    found = np.zeros((len(asks), ends[-1]), np.float32)
    for row, ask in zip(found, asks, strict=True):
        values = {value.name: value for value in ask.values}
        for offer, (start, end) in zip(offers, pairwise(ends), strict=True):
            if value := values.get(offer.kind):
                row[start : end - 1] = value.features(offer)
                row[end - 1] = 1
    return found


def sizes_of(offers: Sequence[AskOffer]) -> tuple[int, ...]:
    """How many numbers `features_of` gives for each kind: its own, and whether it is asked for."""
    return tuple(kinds_of([offer.kind])[0].size(offer) + 1 for offer in offers)


def accepted(offers: Sequence[AskOffer]) -> str:
    """What a model with these offers can be asked for, in words."""
    if not offers:
        return "null: this model was trained for no ask"
    return "some of " + ", ".join(f"{one.kind} ({kinds_of([one.kind])[0].accepted(one)})" for one in offers)


def kinds_of(names: Sequence[str]) -> tuple[type[AskKind], ...]:
    """The kinds of these names, in the order of `KINDS`. Raises InvalidConfig for one that there is not."""
    if unknown := [name for name in names if name not in {kind.name for kind in KINDS}]:
        raise InvalidConfig(f"asks: expected some of {', '.join(kind.name for kind in KINDS)}, got {unknown[0]!r}")
    return tuple(kind for kind in KINDS if kind.name in names)


def _check_names(names: Iterable[object], offers: Sequence[AskOffer]) -> None:
    """Raise InvalidData unless all are kinds of these offers."""
    trained = {offer.kind for offer in offers}
    if unknown := [name for name in names if name not in trained]:
        raise InvalidData("ask", accepted(offers), _shown(unknown))


def _shown(names: Sequence[object]) -> str:
    return json.dumps(", ".join(map(str, names[:_N_SHOWN]))[:_N_SHOWN])


def _plain(value: object) -> object:
    """Lists and numbers of Python in place of numpy's."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
