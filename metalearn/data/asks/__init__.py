"""What is asked of the next attempt beyond "solve the task that was shown": an `Ask`, part of every context.

A new kind is a module here (see `kind`) and its name in `KINDS`; contexts, storage, export and the API carry it from
then on. What a trained model makes of it belongs in `metalearn.model`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from metalearn.data.asks.kind import AskKind
from metalearn.data.errors import InvalidData

__all__ = ["KINDS", "NOTHING", "Ask", "AskKind"]

KINDS: tuple[type[AskKind], ...] = ()
"""Every kind that there is. None is offered yet."""

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

    def check(self, trained: Collection[str]) -> None:
        """Raise InvalidData unless a model that was trained for these kinds can follow."""
        unknown = [name for name in self.kinds if name not in trained]
        if unknown:
            expected = f"some of {', '.join(sorted(trained))}" if trained else "null: this model was trained for no ask"
            raise InvalidData("ask", expected, ", ".join(unknown))

    def to_json(self) -> dict[str, Any]:
        """The values by the names of their kinds."""
        return {value.name: value.to_json() for value in self.values}

    @classmethod
    def from_json(cls, value: object) -> "Ask":
        """What `to_json` wrote, or what a client sent; None asks for nothing.

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
            raise InvalidData("ask", expected, json.dumps(str(unknown[0])[:_N_SHOWN]))
        return cls(tuple(kind.from_json(value[name]) for name, kind in known.items() if name in value))


NOTHING = Ask()
