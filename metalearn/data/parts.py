"""Parts of observations as arrays: by name, in one array with fields, and as one vector. Knows no spaces."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from metalearn.data.errors import InvalidData
from metalearn.data.values import Array

SEPARATOR = "/"
"""Between the names of nested spaces, as in `arm/joints`; the members of a Tuple are named 0, 1, ..."""


def named(value: object) -> dict[str, Any]:
    """The parts by name of a nested mapping or tuple, as `reset` and `step` of an environment give it."""
    return dict(leaves(value))


def by_name(observations: object) -> dict[str, Any] | None:
    """What was observed, by the names of parts: of nested mappings, or of a mapping for each step; None of others.

    Sequences are steps here, not the members of a Tuple.

    Raises:
        InvalidData: steps with other parts than the first.
    """
    if isinstance(observations, np.ndarray):
        return None if observations.dtype.names is None else split(observations)
    if isinstance(observations, Mapping):
        return dict(leaves(observations, containers=(Mapping,)))
    if not isinstance(observations, Sequence) or not observations or not isinstance(observations[0], Mapping):
        return None
    steps = [by_name(step) or {} for step in observations]
    for i, step in enumerate(steps):
        if step.keys() != steps[0].keys():
            raise InvalidData(f"observations[{i}]", f"the parts {', '.join(steps[0])}", ", ".join(step) or "none")
    return {name: [step[name] for step in steps] for name in steps[0]}


def joined(parts: Mapping[str, Array]) -> Array:
    """One array `[n]` with fields, of parts `[n, *shape]`: float32, or uint8 where a part is.

    Raises:
        InvalidData: parts of different length or without a name, or none.
    """
    if not parts or "" in parts:
        raise InvalidData(
            "observations", "at least one part, and a name for each", ", ".join(map(repr, parts)) or "none"
        )
    if scalars := [name for name, part in parts.items() if not part.ndim]:
        raise InvalidData(f"observations.{scalars[0]}", "one value for each of n observations", "a single number")
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
    flat = [part.reshape(len(part), math.prod(part.shape[1:])) for part in split(observations).values()]
    if len(flat) == 1:
        return flat[0].astype(np.float32)
    return np.concatenate(flat, 1, dtype=np.float32, casting="unsafe")  # in one pass: pictures are large


def leaves(value: Any, prefix: str = "", containers: tuple[type, ...] = (Mapping, tuple)) -> Iterator[tuple[str, Any]]:
    """What is nested in mappings and tuples, or in spaces of them, by its path."""
    inner: Any = getattr(value, "spaces", value)  # of a space of several
    if not isinstance(inner, containers):
        yield prefix, value
        return
    members: Any = inner.items() if isinstance(inner, Mapping) else enumerate(inner)  # type: ignore[arg-type]
    for name, member in members:
        yield from leaves(member, f"{prefix}{SEPARATOR}{name}" if prefix else str(name), containers)
