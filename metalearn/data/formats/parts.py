"""From the keys of a recording to the parts of an observation: which key is which part, and whether names are kept.

Names are kept where a picture is among several keys, where somebody asks for parts, and where a model has them;
otherwise the values are one vector, key after key. Does not know files.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.parts import SEPARATOR, joined
from metalearn.data.spaces import is_picture
from metalearn.data.values import components, to_float32

_PREFIXES = ("observations", "observation", "next_obs", "obs")


def name_of(key: str) -> str:
    """The name of a part by its key: `observation.images.top` is `images/top`, and `agent/qpos` itself."""
    names = key.replace(".", SEPARATOR).split(SEPARATOR)
    return SEPARATOR.join(names[1:] if len(names) > 1 and names[0] in _PREFIXES else names)


def keys_of(parts: Sequence[str], known: Sequence[str], unread: str = "") -> dict[str, str]:
    """The key of each part of a model, by the whole name, or by its end if one key ends like that: `top`.

    Args:
        parts: by their names.
        known: the keys that the recording has.
        unread: what is to be said of others that it has.

    Raises:
        InvalidData: a part without a key, or with several.
    """
    found = {}
    for part in parts:
        wanted = name_of(part)
        fitting = [key for key in known if key == part] or [key for key in known if name_of(key) == wanted]
        fitting = fitting or [key for key in known if name_of(key).endswith(SEPARATOR + wanted)]
        if len(fitting) != 1:
            there = ", ".join(sorted(known)) or "none"
            expected = f"a key for each part of the model ({', '.join(parts)}), of {there}{unread}"
            got = f"several for {part}: {', '.join(sorted(fitting))}" if fitting else f"none for {part}"
            raise InvalidData("observations", expected, got)
        found[part] = fitting[0]
    return found


def observed(values: Mapping[str, Array], keys: Sequence[str], parts: Sequence[str], named: bool) -> Array:
    """What is observed at each step: one array, or one with a field for each part.

    Args:
        values: `[t, ...]` by their keys.
        keys: which of them, in this order; all of them if there are none.
        parts: of the model that it is for, whose names are taken; none if that is not known.
        named: keep the names, whatever there is.

    Raises:
        InvalidData: no such key, something else than numbers, or parts of different length.
    """
    known = ", ".join(sorted(values)) or "none"
    if not keys and parts:
        keys = tuple(keys_of(parts, tuple(values)).values())
    if not keys and len(values) != 1 and not named:
        raise InvalidData("observations", f"the keys to use, in order: some of {known}", "none")
    for key in keys:
        if key not in values:
            raise InvalidData("observations", f"some of {known}", key)
    chosen = {key: np.asarray(values[key]) for key in (keys or values)}
    first = next(iter(chosen.values()))
    for key, part in chosen.items():
        if part.dtype.kind not in "biuf" or part.ndim == 0:
            raise InvalidData(f"observations.{key}", "numbers", f"{part.dtype} of shape {list(part.shape)}")
        if len(part) != len(first):
            raise InvalidData(f"observations.{key}", f"{len(first)} steps", f"{len(part)}")
    if named or parts or (len(chosen) > 1 and any(map(_is_picture, chosen.values()))):
        return joined(_named(chosen, parts))
    if len(chosen) == 1 and first.ndim > 1:
        return first
    numbers = {key: to_float32(f"observations.{key}", part) for key, part in chosen.items()}
    return np.concatenate([part.reshape(len(part), -1) for part in numbers.values()], axis=1)


def _named(chosen: Mapping[str, Array], parts: Sequence[str]) -> dict[str, Array]:
    of_model: dict[str, str] = {}
    for part in parts:  # a key that is named, and is no part, is refused where the episode meets the model
        fitting = [key for key in chosen if name_of(key) == name_of(part)]
        fitting = fitting or [key for key in chosen if name_of(key).endswith(SEPARATOR + name_of(part))]
        of_model |= dict.fromkeys(fitting[:1], part)
    found: dict[str, Array] = {}
    for key, value in chosen.items():
        name = of_model.get(key, name_of(key))
        if name in found:
            raise InvalidData(f"observations.{key}", "a name of its own", f"{name}, as another key")
        found[name] = value if _is_picture(value) else to_float32(f"observations.{key}", components(value))
    return found


def _is_picture(value: Array) -> bool:
    return value.dtype == np.uint8 and value.ndim == 4 and is_picture(value.shape[1:])
