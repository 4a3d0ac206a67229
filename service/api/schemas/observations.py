"""What bodies and frames call observations, as arrays of a spec: numbers, pictures, or a mapping of these by part.

Pictures are raw uint8 numbers, or PNG and JPEG files: data URIs in text, bytes in msgpack. Knows no bodies.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.parts import joined
from metalearn.data.pictures import decode_picture, from_data_uri
from metalearn.data.spaces import Part, check_choices, given_parts
from metalearn.data.spec import Spec
from metalearn.data.values import check_finite, components, numbers

LARGEST = 1e9
"""The largest absolute value of a number: beyond any training data, and small enough not to overflow in float32."""
_WHOLE = "whole numbers from 0 to 255"


def to_observations(field: str, value: Any, spec: Spec, max_rows: int = 1) -> Array:
    """Convert and check `[n, *o]` observations to act on. Raises InvalidData."""
    if spec.composite:
        return _joined(field, value, spec, max_rows, "rows")
    _check_length(field, value, max_rows, "rows")
    array = _flat(field, value, spec)
    if spec.observation_layout[1] == (1,):
        array = components(array)
    if array.ndim == 0 or array.shape[1:] != spec.observation_layout[1]:
        expected = ", ".join(map(str, ("n", *spec.observation_layout[1])))
        raise InvalidData(field, f"shape [{expected}]", f"shape {list(array.shape)}")
    spec.check_observations(array)
    return check_size(field, array)


def to_observation(value: Any, spec: Spec) -> Array:
    """Convert and check the one `[*o]` observation of a step; an array that fits is not copied. Raises InvalidData."""
    dtype, shape = spec.observation_layout
    if spec.composite:
        given = given_parts("observation", value, spec.parts)
        whole = np.zeros((), dtype)
        for part in spec.parts:
            whole[part.name] = _array(f"observation.{part.name}", given[part.name], part, single=True)[0]
        return whole
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype == spec.observation_space.dtype:
        return check_size("observation", value)
    if isinstance(value, str | bytes):
        return to_observations("observation", [value], spec)[0]
    array = numbers("observation", value, keep_uint8=True)
    if array.ndim == 0 and shape == (1,):
        array = array.reshape(1)
    if array.shape != shape:
        raise InvalidData("observation", f"shape {list(shape)}", f"shape {list(array.shape)}")
    return to_observations("observation", array[None], spec)[0]


def observed(field: str, value: Any, spec: Spec) -> Array | dict[str, Array]:
    """Convert the observations of an episode, for `Episode.of` and `Spec.fit` to check. Raises InvalidData.

    Their number is checked before they are converted, so that refusing a list of a million steps is cheap.
    """
    if not spec.composite:
        _check_length(field, value, spec.horizon, "steps")
        return _flat(field, value, spec)
    return _by_part(field, value, spec, spec.horizon, "steps")


def check_size(field: str, array: Array) -> Array:
    """Return `array` if its numbers are finite and at most LARGEST. Raises InvalidData."""
    if array.dtype.kind != "f" or np.vdot(array, array) <= LARGEST**2:  # false for NaN
        return array
    if np.abs(array).max(initial=0) <= LARGEST:
        return array
    check_finite(field, array)
    where = tuple(int(i) for i in np.argwhere(np.abs(array) > LARGEST)[0])
    raise InvalidData(field, f"numbers from {-LARGEST:g} to {LARGEST:g}", f"{array[where]:g} at {list(where)}")


def _is_of(value: Any, part: Part) -> bool:
    """Return True for an array of the shape and dtype of a part, of which only the size of numbers is to be checked."""
    if not isinstance(value, np.ndarray) or part.kind == "category":
        return False
    return value.shape == part.shape and value.dtype == part.dtype


def _joined(field: str, value: Any, spec: Spec, most: int, unit: str) -> Array:
    return joined(_by_part(field, value, spec, most, unit))


def _by_part(field: str, value: Any, spec: Spec, most: int, unit: str) -> dict[str, Array]:
    found = given_parts(field, value, spec.parts)
    for name, one in found.items():
        _check_length(f"{field}.{name}", one, most, unit)
    return {part.name: _array(f"{field}.{part.name}", found[part.name], part) for part in spec.parts}


def _check_length(field: str, value: Any, most: int, unit: str) -> None:
    n_more = unit == "steps"  # an episode has one observation more than steps
    listed = isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim > 0)
    if listed and len(value) > most + n_more:
        raise InvalidData(field, f"at most {most} {unit}", f"{len(value) - n_more} {unit}")


def _array(field: str, value: Any, part: Part, *, single: bool = False) -> Array:
    """Observations `[n, *shape]` of a part; `single`: of the value of one. Raises InvalidData."""
    if single and _is_of(value, part):
        return check_size(field, value)[None]
    if (files := _files(value)) is not None:
        array = _decoded(field, files, part)
    else:
        fits = isinstance(value, np.ndarray) and value.size > 0 and value.dtype == part.dtype
        array = value if fits else numbers(field, value, keep_uint8=True)
        array = part.fit(array[None] if single else array) if single or array.ndim else array
    if array.ndim == 0 or array.shape[1:] != part.shape:
        lead: tuple[str, ...] = () if single else ("n",)
        expected = ", ".join(map(str, (*lead, *part.shape)))
        got = array.shape[1:] if single else array.shape
        raise InvalidData(field, f"{part.dtype} [{expected}]", f"{array.dtype} {list(got)}")
    if array.dtype != part.dtype:
        raise InvalidData(field, _WHOLE, "others")
    if part.kind == "category":
        check_choices(field, array, part.space)
    return check_size(field, array)


def _flat(field: str, value: Any, spec: Spec) -> Array:
    """Convert the observations of a spec without parts; whole numbers from 0 to 255 are pixels: JSON has no bytes."""
    (part,) = spec.parts
    if isinstance(value, Mapping):
        shape = ", ".join(map(str, ("n", *part.shape)))
        raise InvalidData(field, f"one array of shape [{shape}]", "an object")
    if (files := _files(value)) is not None:
        return _decoded(field, files, part)
    if spec.observation_space.dtype != np.uint8:
        return numbers(field, value)
    array = numbers(field, value, keep_uint8=True)
    if array.dtype == np.uint8 or bool(((array >= 0) & (array <= 255) & (array == np.floor(array))).all()):
        return array.astype(np.uint8, copy=False)
    raise InvalidData(field, _WHOLE, "others")


def _files(value: Any) -> list[str | bytes] | None:
    """The picture files in a value, one or a list of them; None if it is something else."""
    if isinstance(value, str | bytes):
        return [value]
    return value if isinstance(value, list) and value and isinstance(value[0], str | bytes) else None


def _decoded(field: str, files: list[str | bytes], part: Part) -> Array:
    """Pictures `[n, h, w, c]`. Raises InvalidData."""
    if part.kind != "image":
        raise InvalidData(field, "a rectangular array of numbers", "text or bytes")
    pictures = np.zeros((len(files), *part.shape), np.uint8)
    for i, file in enumerate(files):
        name = field if len(files) == 1 else f"{field}[{i}]"
        if not isinstance(file, str | bytes):
            raise InvalidData(name, "a PNG or JPEG, as the others", type(file).__name__)
        pictures[i] = decode_picture(name, from_data_uri(name, file) if isinstance(file, str) else file, part.shape)
    return pictures
