"""A kind of ask for tests."""

from metalearn.data.asks import AskKind


class Urgency(AskKind):
    """A kind of ask that no model was trained for."""

    name = "urgency"

    def to_json(self) -> float:
        return 1.0

    @classmethod
    def from_json(cls, value: object) -> "Urgency":
        return cls()
