"""Pictures as files keep them: an episode's together, compressed without loss.

What stays the same from picture to picture takes next to nothing, so simulated scenes shrink to a thirtieth and less.
Knows neither files nor episodes.
"""

import math
import zlib

import numpy as np
from jaxtyping import UInt8

from metalearn.data.errors import InvalidBytes, TooLarge
from metalearn.data.values import Array

MOST_BYTES = 2**31
"""In one episode's pictures: a few bytes must not take the memory of the machine that reads them."""


def packed(pictures: UInt8[np.ndarray, "*n"]) -> UInt8[np.ndarray, " bytes"]:
    """The bytes of uint8 pictures of any shape, compressed (zlib)."""
    return np.frombuffer(zlib.compress(pictures.tobytes()), np.uint8)


def unpacked(content: Array, shape: object, field: str) -> UInt8[np.ndarray, "*n"]:
    """The pictures of that shape, which a file says, that `packed` compressed; read-only.

    Raises:
        InvalidBytes: other bytes, naming the field.
        TooLarge: more than `MOST_BYTES`.
    """
    if not isinstance(shape, list) or not all(isinstance(size, int) and size > 0 for size in shape):
        raise InvalidBytes(field, "a shape of whole numbers above 0", f"{shape!r:.80}")
    n_bytes = math.prod(shape)
    if n_bytes > MOST_BYTES:
        raise TooLarge(field, f"at most {MOST_BYTES} bytes", str(n_bytes))
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(content.tobytes(), n_bytes + 1)
    except zlib.error as error:
        raise InvalidBytes(field, "compressed pictures", str(error)) from error
    if len(found) != n_bytes or not reader.eof:
        got = f"{len(found)}{'' if reader.eof else ' or more'}"
        raise InvalidBytes(field, f"{n_bytes} bytes for shape {list(shape)}", got)
    return np.frombuffer(found, np.uint8).reshape(shape)
