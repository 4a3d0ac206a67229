"""What counts as a number, a flag and a column: one rule for every file format, the wire and the Python client.

Knows nothing of episodes, formats or HTTP. Whoever reads a value from outside passes it through one of these functions.
"""

import math
from contextlib import suppress
from typing import Any

import numpy as np

from metalearn.data.errors import InvalidData

Array = np.ndarray[Any, np.dtype[Any]]
_NUMBERS = frozenset({float, int})
_LARGEST = float(np.finfo(np.float32).max)
_UNREADABLE = (ValueError, TypeError, OverflowError, RuntimeError)
"""What numpy and tensor libraries raise when something cannot become an array: ragged lists, foreign tensors."""


def numbers(field: str, value: object, *, keep_uint8: bool = False, discrete: bool = False) -> Array:
    """Canonical copy of real numbers: float32, or uint8 pixels, or int64 for 1-D integer actions.

    Integers of any width and sign are numbers. Booleans alone are 0 and 1; among numbers, or as the columns of an
    action (whose off may as well be -1), nobody knows what they mean.

    Args:
        field: names the value in errors.
        value: nested lists, an array, or whatever numpy makes one of, such as a tensor on the CPU.
        keep_uint8: images stay uint8.
        discrete: the value is an action, so that integers `[t]` stay integers.

    Raises:
        InvalidData: strings, booleans among numbers, ragged nestings, numbers that float32 cannot hold, or nothing at
            all.
    """
    try:
        array = np.asarray(value)
    except _UNREADABLE as error:
        raise InvalidData(field, "a rectangular array of numbers", _why_no_array(value, error)) from error
    if array.size == 0:
        raise InvalidData(field, "at least one step", f"an empty array of {_shape(array)}")
    plain = array.dtype.kind == "b" and not (discrete and array.ndim > 1)
    if not plain and (array.dtype.kind not in "fiu" or _holds_booleans(value)):
        got = "booleans" if array.dtype.kind in "bfiu" else _intruder(value) or f"dtype {array.dtype}"
        raise InvalidData(field, "a rectangular array of numbers", got)
    if keep_uint8 and array.dtype == np.uint8:
        return array.copy()
    if discrete and array.ndim == 1 and array.dtype.kind in "iub":
        return array.astype(np.int64)
    return to_float32(field, array)


def number(field: str, value: object) -> float | None:
    """One finite number, or None where there is none: a reward as a float, a numpy scalar, or an array of one number.

    Raises:
        InvalidData: several numbers, NaN, or no number at all.
    """
    if value is None:
        return None
    found = _only(value)
    with suppress(OverflowError):  # of an integer that no float can hold
        if isinstance(found, int | float) and math.isfinite(known := float(found)):
            return known
    raise InvalidData(field, "one finite number or null", describe(value))


def flag(field: str, value: object) -> bool | None:
    """Whether something happened: true or 1, false or 0, None where nobody knows (null or NaN).

    Raises:
        InvalidData: anything else, since a value of 0.5 or "yes" has no plain meaning.
    """
    found = value if value is None or isinstance(value, bool) else _only(value)
    if found is None or (isinstance(found, float) and math.isnan(found)):
        return None
    if not isinstance(found, int | float) or found not in {0, 1}:
        raise InvalidData(field, "true, false, 1, 0, or null where it is unknown", describe(value))
    return bool(found)


def flags(field: str, values: object) -> tuple[bool | None, ...]:
    """A flag per step, `[t]` or `[t, 1]`, or the one of an episode, by the rule of `flag`.

    Raises:
        InvalidData: naming the first bad step.
    """
    try:
        array = np.atleast_1d(np.asarray(values))
    except _UNREADABLE as error:
        raise InvalidData(field, "one flag per step", _why_no_array(values, error)) from error
    if array.size != len(array):
        raise InvalidData(field, "one flag per step", _shape(array))
    return tuple(flag(f"{field}[{i}]", value) for i, value in enumerate(array.reshape(-1).tolist()))


def any_flag(known: tuple[bool | None, ...]) -> bool | None:
    """Whether any flag is true; None where none is, and one is unknown."""
    return True if True in known else None if None in known else False


def column(field: str, array: Array) -> Array:
    """Numbers per step, `[t]`, also if they are written as a feature of one component, `[t, 1]`. Raises InvalidData."""
    if array.ndim == 0 or array.size != len(array):
        raise InvalidData(field, "one number per step, [t]", _shape(array))
    return array.reshape(len(array))


def components(array: Array) -> Array:
    """Vectors per step, `[t, 1]` where a feature of one component is written as `[t]`; other shapes as they are."""
    return array[:, None] if array.ndim == 1 else array


def to_float32(field: str, array: Array) -> Array:
    """A copy in float32. NaN and infinities pass, for `check_finite`. Raises InvalidData: a number beyond its range."""
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float32)
    except FloatingPointError as error:
        where = tuple(int(i) for i in np.argwhere(np.isfinite(array) & (np.abs(array) > _LARGEST))[0])
        expected = f"numbers from {-_LARGEST:.2g} to {_LARGEST:.2g}"
        raise InvalidData(field, expected, f"{array[where]:.3g} at {list(where)}") from error


def check_finite(field: str, array: Array) -> Array:
    """Return `array` if it has neither NaN nor infinity. Raises InvalidData."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidData(field, "finite numbers", f"{array[where]} at {list(where)}")
    return array


def describe(value: object) -> str:
    """Any value in a few words, for the end of "expected ..., got ..."."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, np.number):
        value = value.item()
    if isinstance(value, int | float):
        return "a huge number" if 1e18 < abs(value) < math.inf else str(value)
    if isinstance(value, str):
        return f"the string {value[:40]!a}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of {array_of(value)}"
    return type(value).__name__


def array_of(array: Array) -> str:
    """The dtype and shape of an array in words; its number where it holds a single one."""
    if array.size == 1 and array.dtype.kind in "biuf":
        return f"{_shape(array)} with {array.item()}"
    return f"{array.dtype} and {_shape(array)}"


def _only(value: object) -> object:
    """The one value in whatever holds one: a Python or numpy scalar, an array, list or tensor of one. Else `value`."""
    if type(value) in _NUMBERS or isinstance(value, bool | str | bytes | dict):
        return value
    try:
        array = np.asarray(value)
    except _UNREADABLE:
        return value
    return array.item() if array.size == 1 and array.dtype.kind in "biufO" else value


def _shape(array: Array) -> str:
    return f"shape {list(array.shape)}"


def _why_no_array(value: object, error: Exception) -> str:
    """What is wrong with a value that numpy makes no array of."""
    if isinstance(value, list | tuple):
        return "ragged or mixed nesting"
    reason = " ".join(str(error).split())[:120]
    return f"{type(value).__name__} ({reason})" if reason else type(value).__name__


def _intruder(value: object, where: tuple[int, ...] = ()) -> str | None:
    """What in a (nested) list made numpy give up on numbers, and where it stands."""
    if isinstance(value, list | tuple):
        return next((found for i, item in enumerate(value) if (found := _intruder(item, (*where, i)))), None)
    if isinstance(value, int) and not isinstance(value, bool):
        kind = None if -(2**63) <= value < 2**64 else "an integer beyond 64 bits"
    elif isinstance(value, float | np.number) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiu"):
        kind = None
    else:
        kinds = {type(None): "null", bool: "a boolean", str: "a string", dict: "an object"}
        kind = kinds.get(type(value), type(value).__name__)
    return f"{kind} at {list(where)}" if kind else None


def _holds_booleans(value: object) -> bool:
    """Whether a (nested) list has a bool in it, which numpy would silently turn into a number."""
    if isinstance(value, bool):
        return True
    if isinstance(value, list | tuple):
        return not _NUMBERS.issuperset(map(type, value)) and any(map(_holds_booleans, value))
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "b"
