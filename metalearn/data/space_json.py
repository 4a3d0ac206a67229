"""Spaces as JSON: of specs in bundles, datasets and on the wire. Reading one is strict and takes little memory.

Does not know what a space is for.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.names import refuse_unknown
from metalearn.data.values import Array

_LEAVES = {
    "box": ("type", "shape", "low", "high", "dtype"),
    "discrete": ("type", "n", "start"),
    "multi_discrete": ("type", "nvec", "start"),
    "multi_binary": ("type", "n"),
}
_NESTS = {"dict": ("type", "spaces"), "tuple": ("type", "spaces")}
MOST_COMPONENTS = 2**23
"""Numbers in one observation: a spec of a few bytes must not take the memory of the machine that reads it."""
_DEEPEST = 8
"""Spaces within spaces."""


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """A JSON value that `space_from_json` turns into an equal space. Infinite bounds become null."""
    match space:
        case spaces.Discrete():
            return {"type": "discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {"type": "multi_discrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case spaces.MultiBinary():
            return {"type": "multi_binary", "n": space.n if isinstance(space.n, int) else list(space.n)}
        case spaces.Dict():
            named = {str(name): space_to_json(member) for name, member in space.spaces.items()}
            return {"type": "dict", "spaces": dict(sorted(named.items()))}
        case spaces.Tuple():
            return {"type": "tuple", "spaces": [space_to_json(member) for member in space.spaces]}
        case spaces.Box():
            return _box_to_json(space)
    raise InvalidConfig(f"space: expected one that networks read, got {space}")


def space_from_json(name: str, value: object, *, nested: bool = True) -> Any:
    """The space that `space_to_json` described.

    Args:
        name: of the field that holds it, for errors.
        value: what JSON gave.
        nested: spaces of several parts are allowed.

    Raises:
        InvalidConfig: naming field, expected and got.
    """
    space, n_components = _read(name, value, _DEEPEST if nested else 0)
    if n_components > MOST_COMPONENTS:
        raise InvalidConfig(f"{name}: expected at most {MOST_COMPONENTS} components, got {n_components}")
    return space


def has_fields(what: str, value: object, fields: Sequence[str]) -> None:
    """Do nothing if a value is an object with these fields and no others. Raises InvalidConfig."""
    if not isinstance(value, dict):
        raise InvalidConfig(f"{what}: expected an object, got {type(value).__name__}")
    try:
        refuse_unknown(value, fields)
    except InvalidData as error:
        raise InvalidConfig(f"{what}.{error}") from error
    if missing := [name for name in fields if name not in value]:
        raise InvalidConfig(f"{what}.{missing[0]}: expected a value, got none")


def whole(name: str, value: object) -> int:
    """The integer that JSON gave. Raises InvalidConfig."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise InvalidConfig(f"{name}: expected an integer, got {value!r:.80}")
    return value


def _read(name: str, value: object, depth: int) -> tuple[Any, int]:
    """A space, and the numbers that an element of it has."""
    known = _LEAVES | (_NESTS if depth else {})
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str) or kind not in known:
        *others, last = known
        raise InvalidConfig(
            f"{name}: expected an object whose type is {', '.join(others)} or {last}, got {value!r:.80}"
        )
    has_fields(name, value, known[kind])
    if kind in _NESTS:
        return _nest(name, kind, value["spaces"], depth - 1)
    try:
        space = _leaf(name, kind, value)
    except InvalidConfig:
        raise
    except (TypeError, ValueError, OverflowError, AssertionError) as error:
        raise InvalidConfig(f"{name}: expected a {kind} space, got {' '.join(str(error).split())[:200]}") from error
    return space, math.prod(space.shape)


def _nest(name: str, kind: str, members: Any, depth: int) -> tuple[Any, int]:
    if not isinstance(members, dict if kind == "dict" else list):
        expected = "an object" if kind == "dict" else "a list"
        raise InvalidConfig(f"{name}.spaces: expected {expected} of spaces, got {members!r:.80}")
    named = members.items() if isinstance(members, dict) else enumerate(members)
    total = 0
    read: dict[Any, Any] = {}
    for key, member in named:
        read[key], n_components = _read(f"{name}.{str(key)[:80]}", member, depth)
        total += n_components
        if total > MOST_COMPONENTS:
            raise InvalidConfig(f"{name}: expected at most {MOST_COMPONENTS} components, got more")
    return spaces.Dict(read) if kind == "dict" else spaces.Tuple(read.values()), total


def _leaf(name: str, kind: str, value: Mapping[str, Any]) -> Any:
    if kind == "box":
        return _box_from_json(name, value)
    if kind == "discrete":
        return spaces.Discrete(value["n"], start=value["start"])
    if kind == "multi_discrete":
        nvec, start = (_wholes(f"{name}.{end}", value[end]) for end in ("nvec", "start"))
        return spaces.MultiDiscrete(nvec, start=start)
    n = value["n"]
    shape = [whole(f"{name}.n", size) for size in (n if isinstance(n, list) else [n])]
    _check_shape(f"{name}.n", shape)
    return spaces.MultiBinary(shape if isinstance(n, list) else n)


def _wholes(name: str, value: object) -> Array:
    """Nested lists of integers. Raises InvalidConfig, or ValueError where they are ragged."""
    array = np.asarray(value)
    if array.dtype.kind != "i" or not array.ndim:
        raise InvalidConfig(f"{name}: expected a list of integers, got {value!r:.80}")
    return array.astype(np.int64)


def _check_shape(name: str, sizes: Sequence[int]) -> None:
    if not all(0 <= size <= MOST_COMPONENTS for size in sizes) or math.prod(sizes) > MOST_COMPONENTS:
        raise InvalidConfig(f"{name}: expected at most {MOST_COMPONENTS} components, got {list(sizes)!r:.80}")


def _box_to_json(box: spaces.Box) -> dict[str, Any]:
    def bounds(values: Array) -> float | list[Any] | None:
        if np.all(values == values.flat[0]):
            return float(values.flat[0]) if np.isfinite(values.flat[0]) else None
        return [float(v) if np.isfinite(v) else None for v in values.ravel()]

    return {
        "type": "box",
        "shape": list(box.shape),
        "low": bounds(box.low),
        "high": bounds(box.high),
        "dtype": str(np.dtype(box.dtype)),
    }


def _box_from_json(name: str, value: Mapping[str, Any]) -> spaces.Box:
    sizes = value["shape"] if isinstance(value["shape"], list) else [value["shape"]]
    shape = tuple(whole(f"{name}.shape", size) for size in sizes)
    _check_shape(f"{name}.shape", sizes)
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "iuf":
        raise InvalidConfig(f"{name}.dtype: expected integers or floats, got {dtype}")

    def bounds(end: str, missing: float) -> Array:
        given = value[end]
        if not isinstance(given, list):
            return np.full(shape, missing if given is None else given).astype(dtype)
        if len(given) != math.prod(shape):
            raise InvalidConfig(f"{name}.{end}: expected one number or {math.prod(shape)}, got {len(given)}")
        return np.array([missing if v is None else v for v in given]).reshape(shape).astype(dtype)

    return spaces.Box(bounds("low", -np.inf), bounds("high", np.inf), shape, dtype.type)
