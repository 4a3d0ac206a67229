"""Opens untrusted HDF5 files, and refuses links out of them and more data than is read. The home of h5py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats.arrays import Limits
from metalearn.data.reading import refuse_pointer_at

if TYPE_CHECKING:
    import h5py

_MOST_OBJECTS = 1_000_000
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}  # deflate, shuffle, checksum, szip, n-bit, scale-offset, lzf: no plug-ins
_DAMAGE = (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, MemoryError)


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator["h5py.File"]:
    """Open a file for reading, after checking all of it.

    Raises:
        InvalidBytes: not HDF5, damaged, or with links to other files.
        TooLarge: its arrays, as its headers describe them, are larger than `limits` allows.
        FileNotFoundError, PermissionError: of the file system.
    """
    import h5py

    try:
        refuse_pointer_at(path)  # and h5py's own errors do not tell a missing file from a damaged one
        with h5py.File(path, "r") as file:
            _check(file, limits)
            yield file
    except InvalidData as error:
        raise error.in_file(path) from error
    except (OSError, *_DAMAGE) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidBytes(f"{path}: file", "HDF5", reason) from error


def array(group: "h5py.Group", name: str) -> Array:
    """One array of numbers. Raises InvalidData."""
    import h5py

    found = group.get(name)
    where = f"{group.name}/{name}".strip("/")
    if not isinstance(found, h5py.Dataset):
        known = ", ".join(sorted(group.keys())) or "nothing"
        raise InvalidData(where, "an array", f"none (there is {known})")
    if found.dtype.kind not in "biuf":
        raise InvalidData(where, "numbers", str(found.dtype))
    try:
        return np.asarray(found[()])
    except (OSError, *_DAMAGE) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidBytes(where, "an array that can be read", reason) from error


def _check(file: "h5py.File", limits: Limits) -> None:
    """Raise for links out of the file, data outside of it, strange filters, and too much of anything."""
    import h5py

    seen: set[Any] = set()
    todo: list[h5py.Group] = [file]
    n_bytes = 0
    while todo:
        group = todo.pop()
        for name in group:
            where = f"{group.name}/{name}".strip("/")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InvalidBytes(where, "what the file holds itself", "a link")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise TooLarge("objects", f"at most {_MOST_OBJECTS}", "more")
            if isinstance(item, h5py.Group):
                todo.append(item)
            elif isinstance(item, h5py.Dataset):
                _check_storage(item, where)
                n_bytes += item.size * item.dtype.itemsize if item.shape is not None else 0
                if n_bytes > limits.n_bytes:
                    raise TooLarge("arrays", f"at most {limits.n_bytes} bytes", "more")


def _check_storage(item: "h5py.Dataset", where: str) -> None:
    properties = item.id.get_create_plist()
    if item.external or item.is_virtual:
        raise InvalidBytes(where, "what the file holds itself", "data in another file")
    used = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if strange := sorted(used - _FILTERS):
        raise InvalidBytes(where, "one of HDF5's own compressions", f"filter {strange[0]}")
