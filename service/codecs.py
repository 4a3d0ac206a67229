"""Encoding and decoding of bodies: JSON and msgpack both ways, and decoding of dataset formats.

Bounded in size, nesting and number of containers. Nothing is ever unpickled. Knows neither HTTP nor schemas.
"""

import json
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import from_json

from metalearn.data.errors import InvalidBytes, TooLarge
from metalearn.data.formats import FORMATS, Limits
from service.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType, quote
from service.msgpack_arrays import MSGPACK, decode_msgpack, encode_msgpack, too_many_containers, unambiguous

__all__ = [
    "CODECS", "JSON", "MSGPACK", "UPLOADS", "Codec", "check_content_type", "decode", "decode_json", "decode_msgpack",
    "encode_json", "encode_msgpack", "gunzip", "media_type_of",
]  # fmt: skip

JSON = "application/json"
_CHUNK = 64 * 1024
_MAX_MEMBERS = 10_000


@dataclass(frozen=True)
class Codec:
    """One wire format."""

    media_type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int], Any]


def decode_json(data: bytes, max_containers: int) -> Any:
    """Decode JSON to plain Python values. NaN and infinities pass; the check of the field refuses them.

    Raises:
        MalformedBody: not JSON, nested too deeply, invalid UTF-8, or an object with two values of one name.
        BodyTooLarge: too many lists and objects.
    """
    if data.count(b"[") + data.count(b"{") > max_containers:
        raise too_many_containers(max_containers)
    text = data.removeprefix(BOM_UTF8)
    try:
        value = from_json(text)
        if text.count(b":") != _n_names(value, text.count(b":")):  # a name lost its first value, or text has colons
            json.loads(text, object_pairs_hook=unambiguous, parse_int=str, parse_float=str)
    except ValueError as error:
        raise MalformedBody(f"the body is not JSON: {error}") from error
    return value


def encode_json(value: Any) -> bytes:
    """Encode `value` as JSON; arrays become nested lists."""
    return json.dumps(value, default=_listed, allow_nan=False, separators=(",", ":")).encode()


def gunzip(data: bytes, max_bytes: int) -> bytes:
    """Decompress the members of a gzip file, never to more than `max_bytes`.

    Raises:
        MalformedBody: not one or more complete gzip streams.
        BodyTooLarge: the result would be larger, or has too many members.
    """
    plain, n_bytes, n_members, inflater = [], 0, 0, zlib.decompressobj(wbits=31)
    for start in range(0, len(data), _CHUNK):  # in chunks, since the end of each member copies what follows it
        rest = data[start : start + _CHUNK]
        while rest:
            if inflater.eof:
                rest = rest.lstrip(b"\0")  # gzip files may end in zeros, as those of tapes and of some writers do
                if not rest:
                    break
                inflater, n_members = zlib.decompressobj(wbits=31), n_members + 1
                if n_members >= _MAX_MEMBERS:
                    raise BodyTooLarge("the body has too many members", expected=f"at most {_MAX_MEMBERS} gzip streams")
            try:
                plain.append(inflater.decompress(rest, max_bytes + 1 - n_bytes))
            except zlib.error as error:
                raise MalformedBody(f"the body is not gzip: {error}") from error
            n_bytes += len(plain[-1])
            if n_bytes > max_bytes:
                raise BodyTooLarge("the body inflates to too much", expected=f"at most {max_bytes} bytes")
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if not inflater.eof:
        raise MalformedBody("the body is not complete gzip")
    return b"".join(plain)


CODECS: Mapping[str, Codec] = {
    JSON: Codec(JSON, encode_json, decode_json),
    MSGPACK: Codec(MSGPACK, encode_msgpack, decode_msgpack),
    "application/x-msgpack": Codec(MSGPACK, encode_msgpack, decode_msgpack),
    "application/vnd.msgpack": Codec(MSGPACK, encode_msgpack, decode_msgpack),
}

UPLOADS: Mapping[str, Callable[[bytes, Limits], Any]] = {
    entry.media_type: entry.decode
    for entry in FORMATS.values()
    if entry.media_type is not None and entry.decode is not None and entry.media_type not in CODECS
}
"""Decoders of formats that are only read, by media type."""
MOST_ARRAYS = 10_000
_READABLE = "one of " + ", ".join((JSON, MSGPACK, *UPLOADS))


def media_type_of(content_type: str) -> str:
    """Return the media type in a Content-Type header, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def check_content_type(content_type: str) -> str:
    """Return the media type of a body. Raises UnsupportedMediaType unless it is one that the server reads."""
    media_type = media_type_of(content_type)
    if media_type not in CODECS and media_type not in UPLOADS:
        got = quote(content_type) if content_type else "none"
        raise UnsupportedMediaType(
            f"Content-Type: expected {_READABLE}, got {got}", field="Content-Type", expected=_READABLE, got=got
        )
    return media_type


def decode(media_type: str, data: bytes, max_bytes: int, max_containers: int) -> Any:
    """Decode a body of any supported format.

    Raises:
        KeyError: the media type is not supported.
        MalformedBody, BodyTooLarge: see the decoders.
    """
    if media_type not in UPLOADS:
        return CODECS[media_type].decode(data, max_containers)
    try:
        return UPLOADS[media_type](data, Limits(max_bytes, min(max_containers, MOST_ARRAYS)))
    except TooLarge as error:
        raise BodyTooLarge(str(error), field=error.field, expected=error.expected, got=error.got) from error
    except InvalidBytes as error:
        raise MalformedBody(str(error), field=error.field, expected=error.expected, got=error.got) from error


def _n_names(value: Any, most: int) -> int:
    """Count the names in objects, level by level until `most` are found, and so without walking arrays of numbers."""
    found, level = 0, [value]
    while level and found < most:
        objects = [one for one in level if isinstance(one, dict)]
        lists = [one for one in level if isinstance(one, list)]
        found += sum(map(len, objects))
        level = [inner for one in objects for inner in one.values()] + [inner for one in lists for inner in one]
    return found


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
