"""PNG and JPEG as uint8 arrays `[h, w, c]`, arrays as PNG, and what people are shown of pictures of any channels.

The size of a picture is read from its header and checked before anything is decoded. Does not know observations.
"""

import base64
import binascii
import re
import struct
import zlib
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from metalearn.data.errors import InvalidData
from metalearn.data.values import describe

_KINDS = ("PNG", "JPEG")
_DATA_URI = re.compile(r"data:image/(png|jpeg);base64,", re.IGNORECASE)
_EXPECTED = "a PNG or JPEG"
_MODES = {1: ("L", ("1", "L")), 3: ("RGB", ("1", "L", "P", "RGB")), 4: ("RGBA", ("LA", "PA", "RGBA"))}
"""For each number of channels, the mode of Pillow, and those that become it without losing anything."""
CHANNELS_OF_FILES = tuple(_MODES)
_DAMAGE = (OSError, ValueError, SyntaxError, struct.error, zlib.error, EOFError, IndexError, KeyError, OverflowError)
"""What Pillow raises at bytes that are not what they should be."""


def from_data_uri(field: str, text: str) -> bytes:
    """The bytes in `data:image/png;base64,...` (or `image/jpeg`). Raises InvalidData."""
    start = _DATA_URI.match(text)
    if start is None:
        raise InvalidData(field, f"{_EXPECTED} as data:image/png;base64,...", describe(text))
    try:
        return base64.b64decode(text[start.end() :].encode("ascii", "replace"), validate=True)
    except binascii.Error as error:
        raise InvalidData(field, "base64 after the comma of a data URI", str(error)) from error


def to_data_uri(picture: UInt8[np.ndarray, "h w c"]) -> str:
    """A picture as `data:image/png;base64,...`."""
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode()


def decode_picture(field: str, data: bytes, shape: tuple[int, ...]) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of a PNG or JPEG.

    Args:
        field: names the picture in errors.
        data: of the file.
        shape: `(h, w, c)` that it must have; what is grey may come for red-green-blue, and nothing is scaled.

    Raises:
        InvalidData: neither a PNG nor a JPEG, a damaged one, or one of another size or with other channels; or a shape
            whose channels no file has.
    """
    height, width, n_channels = shape
    if n_channels not in _MODES:
        *others, last = CHANNELS_OF_FILES
        have = f"{', '.join(map(str, others))} or {last} channels"
        raise InvalidData(field, f"uint8 numbers of shape {list(shape)}", f"a file, which has {have}")
    mode, lossless = _MODES[n_channels]
    expected = f"a picture of {width} x {height} pixels with {n_channels} channel{'s' * (n_channels > 1)}"
    try:
        picture = Image.open(BytesIO(data), formats=_KINDS)  # reads the header only
        if picture.size != (width, height):
            raise InvalidData(field, expected, f"{picture.width} x {picture.height} pixels")
        if picture.mode not in lossless:
            raise InvalidData(field, expected, f"pixels of the kind {picture.mode}")
        return np.array(picture if picture.mode == mode else picture.convert(mode), np.uint8).reshape(shape)
    except InvalidData:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidData(field, expected, "one of many more pixels") from error
    except _DAMAGE as error:
        raise InvalidData(field, _EXPECTED, f"{len(data)} bytes that are none, or a damaged one") from error


def visible(picture: UInt8[np.ndarray, "h w _c"]) -> UInt8[np.ndarray, "h w _d"]:
    """What people can look at: a picture as it is if a file can have its channels, else the last of several frames.

    That is the last three channels where they can be divided into threes, the three before an opacity where they can
    be divided into fours, else the last one.
    """
    n_channels = picture.shape[-1]
    if n_channels in _MODES:
        return picture
    if n_channels % 3 == 0:
        return picture[..., -3:]
    return picture[..., -4:-1] if n_channels % 4 == 0 else picture[..., -1:]


def thumbnail(picture: UInt8[np.ndarray, "h w _c"], most_pixels: int) -> UInt8[np.ndarray, "_y _x _d"]:
    """What people can look at of a picture, shrunk to at most so many pixels a side, if it has more."""
    seen = visible(picture)
    if max(seen.shape[:2]) <= most_pixels:
        return seen
    image = _image(seen)
    image.thumbnail((most_pixels, most_pixels))
    return np.asarray(image, np.uint8).reshape(image.height, image.width, -1)


def encode_png(picture: UInt8[np.ndarray, "h w c"]) -> bytes:
    """A picture of 1, 3 or 4 channels as PNG."""
    target = BytesIO()
    _image(picture).save(target, "PNG")
    return target.getvalue()


def _image(picture: UInt8[np.ndarray, "h w c"]) -> Image.Image:
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else np.ascontiguousarray(picture))
