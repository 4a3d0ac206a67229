"""Splits a value into named arrays such as `demos/0/observations` and the JSON that is left, and joins them again.

Does not know bytes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidBytes

METADATA = "metadata"
"""What no array is called: the name under which the rest travels."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_DEEPEST = 8
Path = tuple[str | int, ...]


def flatten(value: Mapping[str, Any]) -> tuple[dict[str, Array], Any]:
    """The arrays of `value` by their paths, and `value` without them.

    Raises:
        InvalidBytes: a key that cannot be part of a name.
    """
    arrays: dict[str, Array] = {}
    return arrays, _without_arrays(value, (), arrays)


def nest(arrays: Mapping[str, Any], rest: Any) -> dict[str, Any]:
    """What `flatten` took apart. Arrays without axes become plain numbers, booleans and strings.

    Raises:
        InvalidBytes: names that contradict each other or the rest, or a list with a gap.
    """
    if not isinstance(rest, dict):
        raise InvalidBytes(METADATA, "a JSON object", type(rest).__name__)
    for name, path in sorted(((name, parse(name)) for name in arrays), key=_order):
        array = arrays[name]
        _put(rest, path, array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array, name)
    return rest


def parse(name: str) -> Path:
    """`demos/0/observations` as ("demos", 0, "observations"). Raises InvalidBytes."""
    parts = name.split("/")
    if len(parts) > _DEEPEST or not all(_PART.fullmatch(part) for part in parts) or parts[0].isdigit():
        expected = f"names such as demos/0/observations, of at most {_DEEPEST} parts"
        raise InvalidBytes("arrays", expected, ascii(name[:80]))
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in parts)


def _order(entry: tuple[str, Path]) -> tuple[tuple[int, str], ...]:
    """Lists are filled from their first item on."""
    return tuple((part, "") if isinstance(part, int) else (-1, part) for part in entry[1])


def _without_arrays(value: Any, path: Path, arrays: dict[str, Array]) -> Any:
    """`value` with null, or nothing, where an array was; the arrays go to `arrays`."""
    if isinstance(value, Mapping):
        kept: dict[str, Any] = {}
        for key, item in value.items():
            left = _without_arrays(item, _extended(path, key), arrays)
            if left is not _TAKEN:
                kept[key] = left
            elif any(map(_INDEX.fullmatch, key.split("/"))):
                _leave_objects(kept, key)
        return kept
    if isinstance(value, list | tuple):
        items = [_without_arrays(item, (*path, i), arrays) for i, item in enumerate(value)]
        return [None if item is _TAKEN else item for item in items]
    if isinstance(value, np.ndarray) and value.ndim > 0:
        name = "/".join(map(str, path))
        parse(name)
        arrays[name] = value
        return _TAKEN
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


def _leave_objects(kept: dict[str, Any], key: str) -> None:
    """An object for every part of a key but its last: there a number is a key, and elsewhere a place in a list."""
    for part in key.split("/")[:-1]:
        kept = kept.setdefault(part, {})
        if not isinstance(kept, dict):
            raise InvalidBytes(key, "one value", "two")


def _extended(path: Path, key: object) -> Path:
    """The place of a value; a slash in a key stands for nested objects, as in `observation/camera`."""
    parts = key.split("/") if isinstance(key, str) else [""]
    if not all(_PART.fullmatch(part) for part in parts) or (not path and (key == METADATA or parts[0].isdigit())):
        raise InvalidBytes("/".join(map(str, (*path, key))), "letters, digits and _ for a name", ascii(key))
    return (*path, *parts)


_TAKEN = object()


def _put(root: dict[str, Any], path: Path, value: Any, name: str) -> None:
    place: Any = root
    for part, following in zip(path, (*path[1:], None), strict=True):
        last = following is None
        found = _find(place, part, name)
        if last and found is None:
            _set(place, part, value)
        elif found is None:
            found = [] if isinstance(following, int) else {}
            _set(place, part, found)
        elif last:
            raise InvalidBytes(name, "one value", "two")
        place = found


def _find(place: Any, part: str | int, name: str) -> Any:
    """What is at a place in a list or an object; None where there is room."""
    if isinstance(place, list) and isinstance(part, int) and part <= len(place):
        return place[part] if part < len(place) else None
    if isinstance(place, dict):
        return place.get(str(part))
    if isinstance(place, list) and isinstance(part, int):
        raise InvalidBytes(name, f"items numbered from 0 without a gap (next is {len(place)})", str(part))
    raise InvalidBytes(name, "names that agree", "a list, an object and a value at one place")


def _set(place: Any, part: str | int, value: Any) -> None:
    if not isinstance(place, list):
        place[str(part)] = value
    elif part == len(place):
        place.append(value)
    else:
        place[int(part)] = value


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested mappings and sequences, by its path."""
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else None
    )
    if items is None:
        yield prefix, value
    else:
        for key, item in items:
            yield from leaves(item, f"{prefix}/{key}" if prefix else str(key))
