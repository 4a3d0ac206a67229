"""msgpack with numpy arrays, in the convention of openpi's clients. The server and the Python client both use it.

Bounded in nesting and in the number of containers. Object dtypes are refused, and nothing is ever unpickled.
"""

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgpack
import numpy as np

from service.errors import BodyTooLarge, MalformedBody, quote, shorten

MSGPACK = "application/msgpack"
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


def decode_msgpack(data: bytes, max_containers: int) -> Any:
    """Decode msgpack; `{b"__ndarray__": True, b"data", b"dtype", b"shape"}` becomes an array.

    Raises:
        MalformedBody: not msgpack, truncated, nested too deeply, invalid UTF-8, a map with two values of one name, or
            an inconsistent array.
        BodyTooLarge: too many lists and maps.
    """
    few = len(data) <= max_containers  # a container takes at least one byte
    hooks = {"object_pairs_hook": _restored} if few else _counting_hooks(max_containers)
    try:
        return msgpack.unpackb(data, strict_map_key=True, **hooks)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise MalformedBody(f"the body is not msgpack: {reason}") from error


def encode_msgpack(value: Any) -> bytes:
    """Encode `value` as msgpack, with arrays in openpi's convention."""
    return bytes(msgpack.packb(value, default=_packed))


def _counting_hooks(most: int) -> dict[str, Callable[[Any], Any]]:
    n_containers = 0

    def count(value: Any) -> Any:
        nonlocal n_containers
        n_containers += 1
        if n_containers > most:
            raise too_many_containers(most)
        return value

    return {"object_pairs_hook": lambda pairs: _restored(count(pairs)), "list_hook": count}


def too_many_containers(limit: int) -> BodyTooLarge:
    """Make the error for a body with too many lists and maps."""
    return BodyTooLarge("the body holds too many lists and maps", expected=f"at most {limit}")


def unambiguous(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the object with these names and values. Raises MalformedBody: a name has several values."""
    value = dict(pairs)
    if len(value) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        twice = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        raise MalformedBody(
            f"the body has several values for {quote(twice)}, and nobody knows which one is meant",
            field=shorten(twice), expected="each name once", got=f"{quote(twice)} more than once",
        )  # fmt: skip
    return value


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__name__} has no msgpack form")


def _restored(pairs: list[tuple[Any, Any]]) -> Any:
    value = unambiguous(pairs)
    return _array(value) if b"__ndarray__" in value else _scalar(value)


def _array(value: dict[Any, Any]) -> np.ndarray[Any, Any]:
    data, shape = value.get(b"data"), value.get(b"shape")
    dtype = _dtype(value.get(b"dtype"))
    if not isinstance(data, bytes):
        raise MalformedBody("an array's data must be bytes")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise MalformedBody("an array's shape must be a list of sizes")
    size = dtype.itemsize
    for n in shape:
        size *= n
    if size != len(data) or len(shape) > 32:
        raise MalformedBody(f"an array's data has {len(data)} bytes, and its shape and dtype ask for {size}")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, data)
    # Native byte order, so that no other code has to care.
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _scalar(value: dict[Any, Any]) -> Any:
    """Convert openpi's numpy scalars to Python numbers, which strict schemas accept."""
    if b"__npgeneric__" not in value:
        return value
    _dtype(value.get(b"dtype"))
    if not isinstance(value.get(b"data"), bool | int | float):
        raise MalformedBody("a numpy scalar's data must be a number")
    return value[b"data"]


def _dtype(name: object) -> np.dtype[Any]:
    text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
    if not isinstance(text, str) or (dtype := _dtype_of(text)) is None:
        raise MalformedBody("an array's dtype must be one of booleans, integers and floats, such as '<f4'")
    return dtype


@lru_cache(maxsize=64)
def _dtype_of(text: str) -> np.dtype[Any] | None:
    return np.dtype(text) if len(text) <= 3 and _DTYPE.fullmatch(text) else None
