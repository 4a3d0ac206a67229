"""Observations as Gymnasium's spaces describe them: parts with names, kept as one array, read as one vector.

An observation of one part is an array as ever. A composite one (Dict, Tuple, nested) is an array with fields, one
per part: `observations["camera"]` is the part, and slicing, stacking and copying work on the whole. Fields are in
the order of their names. Does not know episodes, specs or networks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Shaped

from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.values import Array

Kind = Literal["vector", "set", "image", "category"]
"""How networks read a part: numbers, m entities `[m, e]` in any order, pixels `[h, w, c]`, or a choice among n."""

SEPARATOR = "/"
"""Between the names of nested spaces, as in `arm/joints`; the members of a Tuple are named 0, 1, ..."""
CHANNELS = (1, 3, 4)
"""What the last axis of a picture may have: grey, red-green-blue, and with an opacity."""

_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


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

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one observation of it; `()` for a Discrete field of a Dict."""
        return tuple(self.space.shape) if self.name or self.space.shape else (1,)

    @property
    def size(self) -> int:
        """The numbers that it has in the vector of an observation."""
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array that keeps it: uint8 where its space is, else float32."""
        return np.dtype(np.uint8 if self.space.dtype == np.uint8 else np.float32)

    @property
    def kind(self) -> Kind:
        """How it is read, by its shape. A matrix is a set of entities if it is a field: a bare Box may be a map."""
        if isinstance(self.space, spaces.Discrete | spaces.MultiDiscrete):
            return "category"
        shape = self.shape
        if len(shape) == 3 and self.space.dtype == np.uint8 and shape[-1] in CHANNELS:
            return "image"
        return "set" if self.name and len(shape) == 2 and min(shape) > 1 else "vector"

    @property
    def choices(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of a category: how many values each of its components has, and the first of them."""
        counts = self.space.n if isinstance(self.space, spaces.Discrete) else self.space.nvec
        sizes, starts = (np.broadcast_to(ends, self.shape).ravel().tolist() for ends in (counts, self.space.start))
        return tuple(sizes), tuple(starts)

    @property
    def numbers(self) -> slice:
        """Its numbers in the vector of an observation."""
        return slice(self.start, self.start + self.size)


def parts_of(space: spaces.Space[Any]) -> tuple[Part, ...]:
    """The parts of an observation space, in the order of their names.

    Raises:
        InvalidConfig: a part of a space that no network reads (Text, Graph, Sequence, ...), or of no component.
    """
    parts: list[Part] = []
    for name, leaf in sorted(_leaves(space), key=lambda named_leaf: named_leaf[0]):
        if not isinstance(leaf, _LEAVES):
            raise InvalidConfig(f"{_called(name)}: expected Box, Discrete, MultiDiscrete or MultiBinary, got {leaf}")
        part = Part(name, leaf, parts[-1].numbers.stop if parts else 0)
        if not part.size:
            shape = list(part.shape)
            raise InvalidConfig(f"{_called(name)}: expected at least one component, got shape {shape}")
        parts.append(part)
    if not parts:
        raise InvalidConfig("observation space: expected at least one part, got none")
    return tuple(parts)


def layout_of(space: spaces.Space[Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape of one observation as an array: `np.zeros((n, *shape), dtype)` has room for n of them."""
    parts = parts_of(space)
    if not composite(space):
        return parts[0].dtype, parts[0].shape
    return np.dtype([(part.name, part.dtype, part.shape) for part in parts]), ()


def composite(space: spaces.Space[Any]) -> bool:
    """Whether observations have parts with names."""
    return isinstance(space, spaces.Dict | spaces.Tuple)


def named(value: object) -> dict[str, Any]:
    """The parts by name of a nested mapping or tuple, as `reset` and `step` of an environment give it."""
    return dict(_leaves(value))


def joined(parts: Mapping[str, Array]) -> Array:
    """One array `[n]` with fields, of parts `[n, *shape]`: float32, or uint8 where a part is.

    Raises:
        InvalidData: parts of different length, or none.
    """
    if not parts:
        raise InvalidData("observations", "at least one part", "none")
    lengths = {name: len(part) for name, part in parts.items()}
    n = min(lengths.values())
    for name, length in lengths.items():
        if length != n:
            raise InvalidData(f"observations.{name}", f"{n}, as many as in other parts", str(length))
    kept = {name: np.uint8 if part.dtype == np.uint8 else np.float32 for name, part in parts.items()}
    whole = np.zeros(n, [(name, kept[name], parts[name].shape[1:]) for name in sorted(parts)])
    for name, part in parts.items():
        whole[name] = part
    return whole


def split(observations: Array) -> dict[str, Array]:
    """The parts of an array of observations by name, as views; `{"": observations}` if it has no fields."""
    names = observations.dtype.names
    return {"": observations} if names is None else {name: observations[name] for name in names}


def observation_vectors(observations: Array) -> Float32[np.ndarray, "n o"]:
    """A copy of n observations as float32 vectors, part after part: how all but their encoders hand them on."""
    flat = [part.reshape(len(observations), -1).astype(np.float32) for part in split(observations).values()]
    return flat[0] if len(flat) == 1 else np.concatenate(flat, 1)


def from_vectors(vectors: Shaped[np.ndarray, "n o"], space: spaces.Space[Any]) -> Array:
    """Observations of a space as arrays again, from the vectors that `observation_vectors` made of them."""
    parts = parts_of(space)
    whole = {part.name: vectors[:, part.numbers].reshape(-1, *part.shape).astype(part.dtype) for part in parts}
    return joined(whole) if composite(space) else whole[""]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    inner: Any = value.spaces if isinstance(value, spaces.Dict | spaces.Tuple) else value
    if isinstance(inner, Mapping):
        members: Any = inner.items()
    elif isinstance(inner, tuple):
        members = enumerate(inner)
    else:
        yield prefix, value
        return
    for name, member in members:
        yield from _leaves(member, f"{prefix}{SEPARATOR}{name}" if prefix else str(name))


def _called(name: str) -> str:
    return f"observation space, part {name!r}" if name else "observation space"
