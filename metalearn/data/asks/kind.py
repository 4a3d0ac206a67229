"""The contract of one kind of ask. Knows no kind by name."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class AskKind(ABC):
    """One thing that can be asked of the next attempt, as a frozen and hashable value.

    Attributes:
        name: the key under which it travels, as `return` in `{"return": 120.0}`.
    """

    name: ClassVar[str]

    @abstractmethod
    def to_json(self) -> Any:
        """The value under its key: plain JSON, the same for equal values."""

    @classmethod
    @abstractmethod
    def from_json(cls, value: Any) -> "AskKind":
        """The value again. Raises InvalidData, naming field, expected and got; the field begins with `ask.NAME`."""
