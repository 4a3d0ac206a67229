"""PNG and JPEG in recordings as pixels, `[n, h, w, c]` uint8. The size is read from the header, and checked first.

Nothing is scaled. Does not know in which files the bytes were.
"""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge

if TYPE_CHECKING:
    from PIL.Image import Image

_KINDS = ("PNG", "JPEG")
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
_DAMAGE = (OSError, ValueError, SyntaxError, struct.error, zlib.error, EOFError, IndexError, KeyError, OverflowError)


def pictures(field: str, rows: Sequence[bytes], most_bytes: int) -> UInt8[np.ndarray, "n h w c"]:
    """The pixels of n PNG or JPEG, which are all of one size.

    Args:
        field: names them in errors.
        rows: the bytes of each; zeros after a JPEG, as ALOHA pads them, are no part of it.
        most_bytes: of all pixels together.

    Raises:
        InvalidData: none, neither PNG nor JPEG, a damaged one, or pictures of several sizes.
        TooLarge: more pixels than that, before they are decoded.
    """
    if not rows:
        raise InvalidData(field, "at least one picture", "none")
    whole: UInt8[np.ndarray, "n h w c"] | None = None
    for i, row in enumerate(rows):
        where = f"{field}[{i}]"
        picture = _opened(where, row)
        shape = (picture.height, picture.width, _CHANNELS[picture.mode])
        if whole is None:
            if (n_bytes := len(rows) * shape[0] * shape[1] * shape[2]) > most_bytes:
                raise TooLarge(field, f"at most {most_bytes} bytes of pixels", str(n_bytes))
            whole = np.zeros((len(rows), *shape), np.uint8)
        if shape != whole.shape[1:]:
            raise InvalidData(where, f"a picture of shape {list(whole.shape[1:])}, as the first", str(list(shape)))
        try:
            whole[i] = np.asarray(picture, np.uint8).reshape(shape)
        except _DAMAGE as error:
            raise InvalidBytes(where, "a whole PNG or JPEG", f"{len(row)} bytes of a damaged one") from error
    assert whole is not None  # there is at least one
    return whole


def _opened(where: str, row: bytes) -> "Image":
    """The picture with its header read. Raises InvalidData."""
    from PIL import Image

    try:
        picture: Image.Image = Image.open(BytesIO(row), formats=_KINDS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(where, "a picture of a usual size", "one of many more pixels") from error
    except _DAMAGE as error:
        raise InvalidBytes(where, "a PNG or JPEG", f"{len(row)} bytes that are none") from error
    if picture.mode not in _CHANNELS:
        raise InvalidData(where, "grey, red-green-blue or that with an opacity, of 8 bits", f"mode {picture.mode}")
    return picture
