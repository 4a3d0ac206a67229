"""Observations as Gymnasium's spaces describe them: parts with names, kept as one array, read as one vector.

An observation of one part is an array as ever. A composite one (Dict, Tuple, nested) is an array with fields, one
per part: `observations["camera"]` is the part, and slicing, stacking and copying work on the whole. Fields are in
the order of their names. Does not know episodes, specs or networks.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from jaxtyping import Int64, Shaped

from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.names import refuse_unknown
from metalearn.data.parts import SEPARATOR, joined, leaves
from metalearn.data.values import Array, describe

Kind = Literal["vector", "set", "image", "category"]
"""How networks read a part: numbers, m entities `[m, e]` in any order, pixels `[h, w, c]`, or a choice among n."""

CHANNELS = range(1, 33)
"""How many numbers the last axis of a picture may have: grey, colours, or those of several frames one after another."""
_COLOURS = (1, 3, 4)

_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether uint8 numbers `[h, w, c]` are a picture, and not one `[c, h, h]` whose channels come first."""
    first, second, last = shape
    return last in _COLOURS or (last in CHANNELS and not (first in _COLOURS and second == last))


@dataclass(frozen=True)
class Part:
    """A part of an observation.

    Attributes:
        name: of its field; "" where an observation has one part only.
        space: Box, Discrete, MultiDiscrete or MultiBinary.
        start: the place of its first number in the vector of an observation.
    """

    name: str
    space: Any
    start: int

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one observation of it; `()` for a Discrete field of a Dict."""
        return tuple(self.space.shape) if self.name or self.space.shape else (1,)

    @property
    def size(self) -> int:
        """The numbers that it has in the vector of an observation."""
        return math.prod(self.shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of the array that keeps it: uint8 where its space is, else float32."""
        return np.dtype(np.uint8 if self.space.dtype == np.uint8 else np.float32)

    @cached_property
    def kind(self) -> Kind:
        """How it is read, by its shape. A matrix is a set of entities if it is a field: a bare Box may be a map."""
        if isinstance(self.space, spaces.Discrete | spaces.MultiDiscrete):
            return "category"
        shape = self.shape
        if len(shape) == 3 and self.space.dtype == np.uint8 and is_picture(shape):
            return "image"
        return "set" if self.name and len(shape) == 2 and min(shape) > 1 else "vector"

    @property
    def numbers(self) -> slice:
        """Its numbers in the vector of an observation."""
        return slice(self.start, self.start + self.size)

    @property
    def field(self) -> str:
        """How errors call it: `observations`, or `observations.camera`."""
        return f"observations.{self.name}" if self.name else "observations"

    def fit(self, array: Array) -> Array:
        """The n observations `[n, *shape]` of it that were meant: the same array wherever nothing has to change.

        One component comes with or without its axis, pixels as whole numbers, and small integers as uint8.
        """
        if array.shape[1:] != self.shape and math.prod(array.shape[1:]) == self.size == 1:
            array = array.reshape(len(array), *self.shape)
        if array.dtype == self.dtype:
            return array
        with np.errstate(invalid="ignore"):
            kept = array.astype(self.dtype)
        return kept if np.array_equal(kept, array) or self.dtype != np.uint8 else array

    def check(self, array: Array) -> Array:
        """Return n observations `[n, *shape]` of it, if they are. Raises InvalidData."""
        if array.shape[1:] != self.shape:
            shape = ", ".join(map(str, ("n", *self.shape)))
            raise InvalidData(self.field, f"shape [{shape}]", f"shape {list(array.shape)}")
        if self.dtype == np.uint8 and array.dtype != np.uint8:
            raise InvalidData(self.field, "uint8", str(array.dtype))
        if self.kind == "category":
            check_choices(self.field, array, self.space)
        return array

    def example(self, rng: np.random.Generator, n: int) -> Array:
        """Random observations `[n, *shape]` of it, of numbers of a usual size."""
        size = (n, *self.shape)
        if isinstance(self.space, spaces.MultiBinary):
            return rng.integers(0, 2, size)
        if self.kind == "category":
            low, counts = choices(self.space)
            return rng.integers(low, low + counts, size)
        if self.dtype == np.uint8:
            return rng.integers(self.space.low, self.space.high, size, dtype=np.uint8, endpoint=True)
        return rng.uniform(*usual(self.space), size)


def parts_of(space: spaces.Space[Any]) -> tuple[Part, ...]:
    """The parts of an observation space, in the order of their names.

    Raises:
        InvalidConfig: a part of a space that no network reads (Text, Graph, Sequence, ...), of no component, or of
            impossible bounds; no part, or two of one name.
    """
    parts: list[Part] = []
    for name, leaf in sorted(leaves(space), key=lambda named_leaf: named_leaf[0]):
        if not isinstance(leaf, _LEAVES):
            raise InvalidConfig(f"{_called(name)}: expected Box, Discrete, MultiDiscrete or MultiBinary, got {leaf}")
        part = Part(name, leaf, parts[-1].numbers.stop if parts else 0)
        if not part.size:
            shape = list(part.shape)
            raise InvalidConfig(f"{_called(name)}: expected at least one component, got shape {shape}")
        check_bounds(_called(name), leaf)
        parts.append(part)
    if not parts:
        raise InvalidConfig("observation space: expected at least one part, got none")
    names = Counter(part.name for part in parts)
    if wrong := [name for name, n in names.items() if n > 1 or (composite(space) and not name)]:
        raise InvalidConfig(f"observation space: expected a name of its own for each part, got {wrong[0]!r}")
    return tuple(parts)


def check_bounds(what: str, space: spaces.Space[Any]) -> None:
    """Do nothing if a space is no Box, or one that has elements. Raises InvalidConfig."""
    if isinstance(space, spaces.Box) and not np.all(space.low <= space.high):
        raise InvalidConfig(f"{what}: expected low <= high, got low {space.low} and high {space.high}")


def choices(space: spaces.Space[Any]) -> tuple[Array, Array]:
    """The lowest choice of each component, and how many there are, in the shape of Discrete, MultiDiscrete, ..."""
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape, np.int64), np.full(space.shape, 2)
    found: Any = space
    counts = found.n if isinstance(space, spaces.Discrete) else found.nvec
    return np.asarray(found.start, np.int64), np.asarray(counts, np.int64)


def check_choices(field: str, array: Array, space: spaces.Space[Any]) -> None:
    """Do nothing if every number of `[n, *shape]` is a choice of a space. Raises InvalidData, for the first other."""
    low, counts = choices(space)
    wrong = (array < low) | (array >= low + counts) | (array != np.floor(array))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        lowest, n = (int(np.broadcast_to(values, array.shape[1:])[where[1:]]) for values in (low, counts))
        raise InvalidData(field, f"integers from {lowest} to {lowest + n - 1}", f"{array[where]} at {list(where)}")


def usual(box: spaces.Box) -> tuple[Array, Array]:
    """Bounds within those of a box, of numbers of a usual size: of -1 .. 1 if it has any of these, else its own."""
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    near = (low <= 1) & (high >= -1)
    beside = np.where(np.isfinite(low), low, high - 1), np.where(np.isfinite(high), high, low + 1)
    return np.where(near, np.maximum(low, -1), beside[0]), np.where(near, np.minimum(high, 1), beside[1])


def layout_of(space: spaces.Space[Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape of one observation as an array: `np.zeros((n, *shape), dtype)` has room for n of them."""
    parts = parts_of(space)
    if not composite(space):
        return parts[0].dtype, parts[0].shape
    return np.dtype([(part.name, part.dtype, part.shape) for part in parts]), ()


def composite(space: spaces.Space[Any]) -> bool:
    """Whether observations have parts with names."""
    return isinstance(space, spaces.Dict | spaces.Tuple)


def in_parts(value: Any, space: spaces.Space[Any]) -> dict[str, Any]:
    """What an environment of this space gave, one observation or a batch of them, by the names of its parts.

    Raises:
        InvalidData: members that the space has not, or others.
    """
    if isinstance(space, spaces.Dict):
        members: Any = space.spaces.items()
        if not isinstance(value, Mapping) or value.keys() != space.spaces.keys():
            got = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise InvalidData("observation", f"a dictionary of {', '.join(map(str, space.spaces))}", got)
    elif isinstance(space, spaces.Tuple):
        members = enumerate(space.spaces)
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            got = f"{len(value)}" if isinstance(value, tuple | list) else type(value).__name__
            raise InvalidData("observation", f"a tuple of {len(space.spaces)}", got)
    else:
        return {"": value}
    return {
        f"{key}{SEPARATOR}{name}" if name else str(key): part
        for key, inner in members
        for name, part in in_parts(value[key], inner).items()
    }


def given_parts(field: str, value: Any, parts: Sequence[Part]) -> dict[str, Any]:
    """What was handed in for each part: of mappings by name, nested or with joined names; of a Tuple also a list.

    Args:
        field: names the observation in errors.
        value: a mapping, as bodies and files hold it.
        parts: of a composite space.

    Raises:
        InvalidData: no mapping, an unknown part, one that is missing, or one twice.
    """
    names = [part.name for part in parts]
    if isinstance(value, dict) and value.keys() == set(names):
        return dict(value)
    found: dict[str, Any] = {}
    for name, one in _given(value, names, ""):
        if not name:
            raise InvalidData(field, f"the parts {', '.join(names)} by name", describe(value))
        if name in found:
            raise InvalidData(f"{field}.{name}", "one value", "two")
        found[name] = one
    try:
        refuse_unknown(found, names)
    except InvalidData as error:
        raise error.within(field) from error
    if missing := [name for name in names if name not in found]:
        raise InvalidData(f"{field}.{missing[0]}", "a value", "none")
    return found


def _given(value: Any, names: Sequence[str], prefix: str) -> Iterator[tuple[str, Any]]:
    members: Any = value.items() if isinstance(value, Mapping) else None
    first = f"{prefix}{SEPARATOR}0".removeprefix(SEPARATOR)
    if isinstance(value, list | tuple) and any(f"{name}/".startswith(f"{first}/") for name in names):
        members = enumerate(value)
    if prefix in names or members is None:
        yield prefix, value
        return
    for name, member in members:
        yield from _given(member, names, f"{prefix}{SEPARATOR}{name}" if prefix else str(name))


def beside_pictures(parts: Sequence[Part]) -> Int64[np.ndarray, " c"]:
    """The places, in the vector of an observation, of the numbers that are no pixels."""
    kept = [np.arange(part.size) + part.start for part in parts if part.kind != "image"]
    return np.concatenate([np.zeros(0, np.int64), *kept])


def from_vectors(vectors: Shaped[np.ndarray, "n o"], space: spaces.Space[Any]) -> Array:
    """Observations of a space as arrays again, from the vectors that `observation_vectors` made of them."""
    parts = parts_of(space)
    whole = {part.name: vectors[:, part.numbers].reshape(-1, *part.shape).astype(part.dtype) for part in parts}
    return joined(whole) if composite(space) else whole[""]


def _called(name: str) -> str:
    return f"observation space, part {name!r}" if name else "observation space"
