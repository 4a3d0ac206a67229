"""npz and safetensors as bytes: named arrays and JSON, read from untrusted input.

Sizes come from the headers and are checked before anything is inflated or copied; object arrays, and with them
pickles, are refused; nothing is written anywhere. Does not know what the arrays mean.
"""

import json
import math
import re
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidBytes, TooLarge
from metalearn.data.formats.naming import METADATA, flatten, leaves, nest, parse
from metalearn.data.reading import refuse_pointer


@dataclass(frozen=True)
class Limits:
    """How much is read of untrusted bytes.

    Attributes:
        n_bytes: of all arrays together, decompressed.
        n_arrays: of arrays, and of lists and objects in the metadata.
        n_episodes: that a dataset says it has.
    """

    n_bytes: int = 2 * 1024**3
    n_arrays: int = 10_000
    n_episodes: int = 1_000_000


DATASET_LIMITS = Limits(n_bytes=16 * 1024**3)
"""Of a dataset in files of this machine."""


@dataclass(frozen=True)
class Unread:
    """An array of text, objects or records in an .npz, which is not read; `what` is its type and shape."""

    what: str


_TEXT_BYTES = 1_000_000
_MEMBER = b"PK\x01\x02"
_ODD = re.compile(r"[^A-Za-z0-9_]|^(?=[0-9])")
_MOST_DEFLATED = 1040  # deflate packs 1032 bytes into one at best
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, ValueError, TypeError, KeyError, IndexError, OverflowError, EOFError, SyntaxError,
    RecursionError, MemoryError, NotImplementedError, RuntimeError, OSError,
    tokenize.TokenError,
)  # fmt: skip
"""What the libraries raise at bytes that are not what they should be."""
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


def encode_npz(value: Mapping[str, Any]) -> bytes:
    """A value with arrays in it as .npz, which `numpy.load` reads too. Raises InvalidBytes."""
    arrays, rest = flatten(value)
    text = np.frombuffer(_to_json(rest).encode(), np.uint8)
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in {METADATA: text, **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=array.nbytes > 2**31) as file:
                np.lib.format.write_array(file, _plain(name, array), allow_pickle=False)
    return target.getvalue()


def decode_npz(data: bytes, limits: Limits = Limits()) -> dict[str, Any]:
    """What `encode_npz` or `numpy.savez` wrote, arrays in the places that their names say.

    Raises:
        InvalidBytes: not an .npz of numbers (and of text without axes).
        TooLarge: too many arrays, or more bytes than `limits` allows, going by the headers.
    """
    value = read_npz(data, limits)
    for name, found in leaves(value):
        if isinstance(found, Unread):
            raise InvalidBytes(_safe(name), "booleans, integers or floats", found.what)
    return value


def read_npz(data: bytes, limits: Limits = Limits()) -> dict[str, Any]:
    """The same, with `Unread` in the place of every array that is not of numbers, such as a list of text.

    Files of other people hold such arrays besides, and whoever needs one of them refuses it. They are never unpickled.

    Raises:
        InvalidBytes: not an .npz of numbers (and of text without axes).
        TooLarge: too many arrays, or more bytes than `limits` allows, going by the headers.
    """
    refuse_pointer(data, "body")
    if data.count(_MEMBER) > limits.n_arrays:
        raise TooLarge("arrays", f"at most {limits.n_arrays}", "more")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
            _check_members(members, limits)
            read = ((member.filename.removesuffix(".npy"), _read_member(archive, member)) for member in members)
            # What is not read may be called anything: its name is only said.
            arrays = {_said(name) if isinstance(one, Unread) else name: one for name, one in read}
    except (InvalidBytes, TooLarge):
        raise
    except _DAMAGE as error:
        raise InvalidBytes("body", "an .npz archive", _reason(error)) from error
    rest = _from_json(arrays.pop(METADATA)) if METADATA in arrays else {}
    return nest(arrays, rest)


def encode_safetensors(value: Mapping[str, Any]) -> bytes:
    """A value with arrays in it as safetensors, the rest as JSON in the header's metadata. Raises InvalidBytes."""
    arrays, rest = flatten(value)
    return save({name: _plain(name, array) for name, array in arrays.items()}, {METADATA: _to_json(rest)})


def decode_safetensors(data: bytes, limits: Limits = Limits()) -> dict[str, Any]:
    """What `encode_safetensors` wrote, or any safetensors whose arrays are named by their places.

    Raises:
        InvalidBytes: not safetensors of numbers.
        TooLarge: too many arrays, or more bytes than `limits` allows.
    """
    refuse_pointer(data, "body")
    header_size = int.from_bytes(data[:8], "little")
    if header_size > min(len(data), _TEXT_BYTES + 300 * limits.n_arrays):
        raise InvalidBytes("body", "safetensors with a header that fits it", f"a header of {header_size} bytes")
    header = data[8 : 8 + header_size]
    if len(data) > limits.n_bytes + header_size + 8 or header.count(b"{") > limits.n_arrays + 2:
        raise TooLarge("arrays", f"at most {limits.n_arrays} of {limits.n_bytes} bytes", "more")
    try:
        tensors = deserialize(data)
        metadata = json.loads(header).get("__metadata__", {})
    except (SafetensorError, *_DAMAGE) as error:
        raise InvalidBytes("body", "safetensors", _reason(error)) from error
    arrays = {name: _tensor(name, tensor) for name, tensor in tensors}
    return nest(arrays, _from_json(metadata.get(METADATA, "{}")))


def _check_members(members: list[zipfile.ZipInfo], limits: Limits) -> None:
    """Raise unless an archive can be read, going by the headers of its members."""
    names = [member.filename for member in members]
    if len(names) > limits.n_arrays:
        raise TooLarge("arrays", f"at most {limits.n_arrays}", str(len(names)))
    if len(set(names)) < len(names):
        raise InvalidBytes("arrays", "names that differ", "one twice")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise InvalidBytes("arrays", "files NAME.npy", ascii(member.filename[:80]))
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or member.flag_bits & 1:
            raise InvalidBytes("arrays", "stored or deflated files without a password", ascii(member.filename[:80]))
        if member.file_size > _MOST_DEFLATED * member.compress_size + 1024:
            raise InvalidBytes("arrays", "sizes that can be", f"{member.compress_size} for {member.file_size} bytes")
    if (total := sum(member.file_size for member in members)) > limits.n_bytes:
        raise TooLarge("arrays", f"at most {limits.n_bytes} bytes, inflated", str(total))


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> "Array | Unread":
    """One array, if it is of numbers. numpy parses its header; its data is taken as it is, and never as objects."""
    with archive.open(member) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in a header
        content = BytesIO(file.read(member.file_size))
        version = np.lib.format.read_magic(content)
        reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in reads:
            return Unread(f"an .npy of version {version}")  # of records whose fields have odd names
        shape, fortran_order, dtype = reads[version](content)
    size = dtype.itemsize * math.prod(shape)
    left = member.file_size - content.tell()
    text = dtype.kind == "U" and shape == () and size <= _TEXT_BYTES
    if not (text or (dtype.kind in "biuf" and dtype.itemsize <= 8)) or any(n < 0 for n in shape) or len(shape) > 32:
        return Unread(f"{dtype.str} of shape {shape}"[:80])
    if size != left:
        raise InvalidBytes(_safe(member.filename), f"{size} bytes, as its header says", f"{left} bytes")
    array = np.ndarray(shape, dtype, content.read(), order="F" if fortran_order else "C")
    return array.copy() if text else np.ascontiguousarray(array, dtype.newbyteorder("<")).reshape(shape)


def _tensor(name: str, tensor: Mapping[str, Any]) -> Array:
    dtype = _DTYPES.get(tensor["dtype"])
    if dtype is None or len(tensor["shape"]) > 32:
        expected = f"at most 32 axes of one of {', '.join(_DTYPES)}"
        raise InvalidBytes(_safe(name), expected, f"{tensor['dtype']} of {len(tensor['shape'])} axes")
    return np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])


def _plain(name: str, array: Array) -> Array:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise InvalidBytes(name, "booleans, integers or floats of at most 8 bytes", str(array.dtype))
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _to_json(rest: Any) -> str:
    try:
        return json.dumps(rest, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidBytes(METADATA, "what JSON can say", str(error)) from error


def _from_json(text: object) -> Any:
    if isinstance(text, np.ndarray):
        text = text.item() if text.ndim == 0 else text.tobytes()
    if not isinstance(text, str | bytes) or len(text) > _TEXT_BYTES:
        raise InvalidBytes(METADATA, f"at most {_TEXT_BYTES} bytes of JSON", "others")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidBytes(METADATA, "JSON", _reason(error)) from error


def _reason(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:120]


def _said(name: str) -> str:
    """A name as it is where it can be the place of an array, else one that can."""
    try:
        parse(name)
    except InvalidBytes:
        return _ODD.sub("_", name)[:64]
    return name


def _safe(name: str) -> str:
    """An untrusted name, escaped and shortened for an error message."""
    return ascii(name[:80]).strip("'")
