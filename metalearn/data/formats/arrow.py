"""Columns of Arrow and Parquet tables as arrays of numbers. Does not know which dataset they are of."""

from typing import TYPE_CHECKING

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData

if TYPE_CHECKING:
    import pyarrow as pa


def numbers_of(column: "pa.ChunkedArray | pa.Array", name: str) -> Array:
    """Numbers, or lists of equally many of them, as `[n]` or `[n, ...]`. Raises InvalidData."""
    import pyarrow as pa

    chunks = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks
    axes = [len(values)]
    while _is_list(values.type):
        if values.null_count:
            raise InvalidData(name, "a list in every frame", f"{values.null_count} frames without")
        flat = values.flatten()
        if len(values) == 0 or len(flat) % len(values) or not _even(values, len(flat) // len(values)):
            raise InvalidData(name, "lists of one length", "others")
        axes.append(len(flat) // len(values))
        values = flat
    if not is_numeric(values.type):
        raise InvalidData(name, "numbers", str(column.type))
    if values.null_count:  # of which the episodes that they are in will say that they are no numbers
        values = values.cast(pa.uint8()) if pa.types.is_boolean(values.type) else values
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(axes)


def picture_bytes(column: "pa.ChunkedArray", name: str) -> list[bytes]:
    """The bytes of a column of pictures, `{bytes, path}`. Raises InvalidData where a picture is in another file."""
    rows = []
    for i, one in enumerate(column.to_pylist()):
        if not isinstance(one, dict) or not isinstance(one.get("bytes"), bytes):
            raise InvalidData(f"{name}[{i}]", "the bytes of a PNG or JPEG", "none" if one is None else "another file")
        rows.append(one["bytes"])
    return rows


def is_picture(kind: "pa.DataType") -> bool:
    """Whether a column of this type holds the bytes of pictures."""
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner))


def is_numeric(kind: "pa.DataType") -> bool:
    """Whether a column of this type holds numbers or booleans, or lists of them."""
    import pyarrow as pa

    while _is_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def reason(error: BaseException) -> str:
    """What a library says is wrong, on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _even(values: "pa.Array", length: int) -> bool:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(values.type):
        return True
    return bool((np.diff(values.offsets.to_numpy()) == length).all())
