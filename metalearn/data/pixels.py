"""Pictures compressed without loss: an episode's together, as files keep them, or each alone, as memory does.

What stays the same from picture to picture takes next to nothing, so simulated scenes shrink to a thirtieth and less.
Knows neither files nor episodes.
"""

import math
import zlib
from typing import Any

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


class PackedRows:
    """An array `[*n, *shape]` of any dtype in memory, of which every one of the n rows is compressed on its own.

    An index gives the rows as an array; `pick` gives them as they are kept, and copies nothing.
    """

    def __init__(self, rows: Array, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> None:
        self._rows, self._dtype, self._row_shape = rows, dtype, row_shape
        self.shape = rows.shape + row_shape

    @classmethod
    def of(cls, whole: Array) -> "PackedRows":
        """Compress the rows of an array along its first axis."""
        rows = np.empty(len(whole), object)
        for i, row in enumerate(np.ascontiguousarray(whole)):
            rows[i] = zlib.compress(row.tobytes(), 1)
        return cls(rows, whole.dtype, whole.shape[1:])

    @classmethod
    def zeros(cls, n: tuple[int, ...], dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> "PackedRows":
        """Rows of zeros, to be filled."""
        rows = np.full(n, zlib.compress(np.zeros(row_shape, dtype).tobytes()), object)
        return cls(rows, dtype, row_shape)

    def __len__(self) -> int:
        return len(self._rows)

    def pick(self, index: Any) -> "PackedRows":
        """The rows of an index along their axes, packed."""
        return PackedRows(self._rows[index], self._dtype, self._row_shape)

    def __setitem__(self, index: Any, rows: "PackedRows | Array") -> None:
        self._rows[index] = (rows if isinstance(rows, PackedRows) else PackedRows.of(rows))._rows

    def __getitem__(self, index: Any) -> Array:
        packed = np.asarray(self._rows[index], object)
        content = b"".join(map(zlib.decompress, packed.flat))
        return np.ndarray((*packed.shape, *self._row_shape), self._dtype, content)
