"""The exceptions that data raises. They name what is wrong, and know neither HTTP nor the console.

WatchTryLearnError
├── InvalidData(ValueError)   a value breaks a rule: field, expected, got
│   ├── InvalidBytes               a file or a body is not what its format says
│   └── TooLarge                   it is, and holds more than is read
└── InvalidConfig(ValueError) a configuration contradicts itself or names something unknown
"""


class WatchTryLearnError(Exception):
    """Every error this project raises on purpose; its text is one sentence for a person."""


class InvalidData(WatchTryLearnError, ValueError):
    """A value that was handed in breaks a rule of its type."""

    def __init__(self, field: str, expected: str, got: str) -> None:
        self.field = field
        self.expected = expected
        self.got = got
        super().__init__(f"{field}: expected {expected}, got {got}")

    def __reduce__(self) -> tuple[type["InvalidData"], tuple[str, str, str]]:
        """Exceptions cross process borders; without this only the text would, and not fit the constructor."""
        return type(self), (self.field, self.expected, self.got)

    def within(self, prefix: str) -> "InvalidData":
        """The same error, with the field named from one level further out."""
        separator = "" if self.field.startswith("[") else "."
        return type(self)(f"{prefix}{separator}{self.field}", self.expected, self.got)

    def in_file(self, file: object) -> "InvalidData":
        """The same error, with the file named in front."""
        return type(self)(f"{file}: {self.field}", self.expected, self.got)


class InvalidBytes(InvalidData):
    """Bytes that are not what their format says."""


class TooLarge(InvalidData):
    """More than is read."""


class InvalidConfig(WatchTryLearnError, ValueError):
    """A configuration, a name or a file that cannot be used as it is."""
