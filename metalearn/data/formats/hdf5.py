"""Opens untrusted HDF5 files, and refuses links out of them and more data than is read. The home of h5py."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

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
    """Open a file for reading, after checking all of it. Errors name the file.

    Raises:
        InvalidBytes: not HDF5, damaged, or with links to other files.
        TooLarge: its arrays, as its headers describe them, are larger than `limits` allows.
        FileNotFoundError, PermissionError: of the file system.
    """
    try:
        with opened_part(path, limits) as file:
            yield file
    except InvalidData as error:
        raise error.in_file(path) from error


@contextmanager
def opened_part(path: Path, limits: Limits) -> Iterator["h5py.File"]:
    """The same for one of several files of a dataset: whoever reads them says in which file an error is."""
    import h5py

    try:
        refuse_pointer_at(path)  # and h5py's own errors do not tell a missing file from a damaged one
        with h5py.File(path, "r") as file:
            _check(file, limits)
            yield file
    except InvalidData:
        raise
    except (OSError, *_DAMAGE) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidBytes("file", "HDF5", reason) from error


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


def rows_of_bytes(group: "h5py.Group", name: str) -> list[bytes] | None:
    """An array `[n]` of bytes of any length, or `[n, k]` of bytes that are padded; None for any other array."""
    import h5py

    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        return None
    varied = found.ndim == 1 and h5py.check_vlen_dtype(found.dtype) == np.uint8
    if not varied and not (found.ndim == 2 and found.dtype == np.uint8):
        return None
    try:
        return [np.asarray(row, np.uint8).tobytes() for row in found[()]]
    except (OSError, *_DAMAGE) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidBytes(f"{group.name}/{name}".strip("/"), "an array that can be read", reason) from error


def text(group: "h5py.Group", name: str) -> list[str]:
    """One array of text, as a list. Raises InvalidData."""
    import h5py

    found = group.get(name)
    where = f"{group.name}/{name}".strip("/")
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "SO" or found.ndim != 1:
        raise InvalidData(where, "an array of text", "another" if isinstance(found, h5py.Dataset) else "none")
    values = [one.decode(errors="replace") if isinstance(one, bytes) else one for one in found[()].tolist()]
    if not all(isinstance(one, str) for one in values):
        raise InvalidData(where, "an array of text", str(found.dtype))
    return values


def is_group(item: object) -> TypeGuard[Any]:
    """Whether it is a group; also false where there is nothing."""
    return hasattr(item, "keys")


def numbered(group: Any, prefix: str) -> list[str]:
    """The names `PREFIX_0`, `PREFIX_1`, ... in a group, in the order of their numbers."""
    names = [name for name in group if re.fullmatch(rf"{prefix}_[0-9]{{1,9}}", name)] if is_group(group) else []
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))


def below(group: "h5py.Group") -> list[str]:
    """The arrays in a group and its groups, by their paths from it, such as `agent/qpos`."""
    import h5py

    found: list[str] = []
    todo, seen = [("", group)], set()
    while todo:
        prefix, one = todo.pop()
        address = h5py.h5o.get_info(one.id).addr
        if address in seen:  # hard links can make a circle
            continue
        seen.add(address)
        for name, item in one.items():
            if is_group(item):
                todo.append((f"{prefix}{name}/", item))
            elif is_dataset(item):
                found.append(prefix + name)
    return sorted(found)


def flags_of(holders: "Iterable[h5py.Group]", keys: Iterable[str]) -> dict[str, Array]:
    """The flags of these names, which are arrays or attributes of the first group that has them. Raises InvalidData."""
    found: dict[str, Array] = {}
    for holder in holders:
        for key in keys:
            if key and key not in found and is_dataset(holder.get(key)):
                found[key] = array(holder, key)
            elif key and key not in found and key in holder.attrs:
                found[key] = np.atleast_1d(np.asarray(holder.attrs[key]))
    return found


def is_dataset(item: object) -> bool:
    """Whether it is an array; also false where there is nothing."""
    return hasattr(item, "dtype")


def _check(file: "h5py.File", limits: Limits) -> None:
    """Raise for links out of the file, data outside of it, strange filters, and too much of anything."""
    import h5py

    seen: set[Any] = set()
    todo: list[h5py.Group] = [file]
    n_bytes = 0
    while todo:
        group = todo.pop()
        names = list(group)
        if len(set(names)) < len(names):  # of which only the first can be read, and would be read for both
            raise InvalidBytes(group.name.strip("/") or "file", "names that differ", "one twice")
        for name in names:
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
