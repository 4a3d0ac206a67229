"""Numbers of an ask, as JSON has them, checked."""

import math

from metalearn.data.errors import InvalidData

LARGEST = 1e30
"""The largest absolute value of a number: float32 holds it, and nobody means more."""
MOST_NUMBERS = 1024
_RANGE = f"from {-LARGEST:g} to {LARGEST:g}"


def number(field: str, value: object, expected: str = f"a number {_RANGE}") -> float:
    """The number of a field. Raises InvalidData."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidData(field, expected, "null" if value is None else type(value).__name__)
    if abs(value) > LARGEST or not math.isfinite(value):
        raise InvalidData(field, expected, f"{value:.3g}" if isinstance(value, float) else "a huge number")
    return float(value)


def numbers_in_a_row(field: str, value: object) -> tuple[float, ...]:
    """The numbers of a list of at least one. Raises InvalidData."""
    if not isinstance(value, list | tuple):
        raise InvalidData(field, f"a list of numbers {_RANGE}", "null" if value is None else type(value).__name__)
    if not 1 <= len(value) <= MOST_NUMBERS:
        raise InvalidData(field, f"1 to {MOST_NUMBERS} numbers {_RANGE}", str(len(value)))
    return tuple(number(f"{field}[{i}]", one) for i, one in enumerate(value))
