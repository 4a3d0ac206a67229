"""Bytes to values and back: JSON, and msgpack with numpy arrays as openpi's clients send them. npz and safetensors
are read, and not answered with.

Bounded in size, nesting and number of containers; object dtypes are refused and nothing is ever unpickled.
Does not know HTTP, nor what the values mean.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgpack
import numpy as np
from pydantic_core import from_json

from metalearn.data.errors import InvalidBytes, TooLarge
from metalearn.data.formats.arrays import Limits, decode_npz, decode_safetensors
from service.errors import BodyTooLarge, MalformedBody

JSON = "application/json"
MSGPACK = "application/msgpack"
NPZ = "application/x-npz"
SAFETENSORS = "application/x-safetensors"
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


@dataclass(frozen=True)
class Codec:
    """One wire format."""

    media_type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int], Any]


def decode_json(data: bytes, max_containers: int) -> Any:
    """A JSON text as plain Python values. NaN and infinities pass: whoever reads the field refuses them.

    Raises:
        MalformedBody: not JSON, nested too deeply, or broken text.
        BodyTooLarge: too many lists and objects.
    """
    if data.count(b"[") + data.count(b"{") > max_containers:
        raise _too_many(max_containers)
    try:
        return from_json(data)
    except ValueError as error:
        raise MalformedBody(f"the body is not JSON: {error}") from error


def encode_json(value: Any) -> bytes:
    """`value` as JSON; arrays become nested lists."""
    return json.dumps(value, default=_listed, allow_nan=False, separators=(",", ":")).encode()


def decode_msgpack(data: bytes, max_containers: int) -> Any:
    """A msgpack value; `{b"__ndarray__": True, b"data", b"dtype", b"shape"}` becomes an array.

    Raises:
        MalformedBody: not msgpack, cut short, nested too deeply, broken text, or an array that contradicts itself.
        BodyTooLarge: too many lists and maps.
    """
    few = len(data) <= max_containers  # each takes a byte at least
    hooks = {"object_hook": _restored} if few else _counting_hooks(max_containers)
    try:
        return msgpack.unpackb(data, strict_map_key=True, **hooks)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise MalformedBody(f"the body is not msgpack: {reason}") from error


def encode_msgpack(value: Any) -> bytes:
    """`value` as msgpack, arrays in openpi's convention."""
    return bytes(msgpack.packb(value, default=_packed))


def gunzip(data: bytes, max_bytes: int) -> bytes:
    """What was compressed, never inflating more than `max_bytes`.

    Raises:
        MalformedBody: not one complete gzip stream.
        BodyTooLarge: it inflates to more.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise MalformedBody(f"the body is not gzip: {error}") from error
    if len(plain) > max_bytes:
        raise BodyTooLarge("the body inflates to too much", expected=f"at most {max_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise MalformedBody("the body is not one complete gzip stream")
    return plain


CODECS: Mapping[str, Codec] = {
    JSON: Codec(JSON, encode_json, decode_json),
    MSGPACK: Codec(MSGPACK, encode_msgpack, decode_msgpack),
    "application/x-msgpack": Codec(MSGPACK, encode_msgpack, decode_msgpack),
    "application/vnd.msgpack": Codec(MSGPACK, encode_msgpack, decode_msgpack),
}

READ_ONLY: Mapping[str, Callable[[bytes, Limits], Any]] = {NPZ: decode_npz, SAFETENSORS: decode_safetensors}
MOST_ARRAYS = 10_000


def decode(media_type: str, data: bytes, max_bytes: int, max_containers: int) -> Any:
    """The value that a body says, whatever its format.

    Raises:
        KeyError: a format that is not read.
        MalformedBody, BodyTooLarge: see there.
    """
    if media_type not in READ_ONLY:
        return CODECS[media_type].decode(data, max_containers)
    try:
        return READ_ONLY[media_type](data, Limits(max_bytes, min(max_containers, MOST_ARRAYS)))
    except TooLarge as error:
        raise BodyTooLarge(str(error), field=error.field, expected=error.expected, got=error.got) from error
    except InvalidBytes as error:
        raise MalformedBody(str(error), field=error.field, expected=error.expected, got=error.got) from error


def _counting_hooks(most: int) -> dict[str, Callable[[Any], Any]]:
    n_containers = 0

    def count(value: Any) -> Any:
        nonlocal n_containers
        n_containers += 1
        if n_containers > most:
            raise _too_many(most)
        return value

    return {"object_hook": lambda value: _restored(count(value)), "list_hook": count}


def _too_many(limit: int) -> BodyTooLarge:
    return BodyTooLarge("the body holds too many lists and maps", expected=f"at most {limit}")


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


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


def _restored(value: dict[Any, Any]) -> Any:
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
    # Nothing downstream has to think of byte order.
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _scalar(value: dict[Any, Any]) -> Any:
    """openpi's numpy scalars become Python numbers, so that strict schemas see what they are."""
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
