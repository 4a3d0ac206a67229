"""Episodes: what happened once, as frozen arrays.

Knows shapes, dtypes and finiteness. Does not know spaces (`spec`), tasks or models.
Axes: t steps, o observation, a action.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from metalearn.data.errors import InvalidData

Array = np.ndarray[Any, np.dtype[Any]]
_NUMBERS = frozenset({float, int})


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode: t >= 1 actions between t + 1 observations.

    Attributes:
        observations: `[t+1, *o]`, float32 (or uint8 for images).
        actions: `[t, a]` float32 (continuous), `[t]` int64 (discrete), or None for an observation-only demo.
        rewards: `[t]` float32, `rewards[i]` following `actions[i]`, or None where the steps were not scored.
        success: whether the task was solved, or None where it is unknown.

    Build one from lists or any dtype with `Episode.of`. Arrays are read-only.

    Raises:
        InvalidData: naming field, expected and got.
    """

    observations: Shaped[np.ndarray, "t1 *o"]
    actions: Shaped[np.ndarray, "t *a"] | None = None
    rewards: Float32[np.ndarray, " t"] | None = None
    success: bool | None = None

    def __post_init__(self) -> None:
        if self.observations.ndim < 2 or len(self.observations) < 2:
            shape = _shape(self.observations)
            raise InvalidData("observations", "[t+1, o] with at least one step (t >= 1)", shape)
        n_steps = len(self.observations) - 1
        for name, value in self.arrays().items():
            if name != "observations" and len(value) != n_steps:
                expected = f"{n_steps} steps (one fewer than the {n_steps + 1} observations)"
                raise InvalidData(name, expected, f"{len(value)}")
            check_finite(name, value).flags.writeable = False

    @classmethod
    def of(
        cls,
        observations: object,
        actions: object = None,
        rewards: object = None,
        success: object = None,
    ) -> "Episode":
        """Make an episode of whatever holds numbers: lists, arrays of any real dtype.

        Strings, booleans (except `success`), ragged nestings, NaN and infinities are refused.

        Raises:
            InvalidData: naming field, expected and got.
        """
        if success is not None and not isinstance(success, bool | np.bool_):
            raise InvalidData("success", "true, false or null", f"{type(success).__name__}")
        return cls(
            observations=numbers("observations", observations, keep_uint8=True),
            actions=None if actions is None else numbers("actions", actions, discrete=True),
            rewards=None if rewards is None else _rewards(rewards),
            success=None if success is None else bool(success),
        )

    def __len__(self) -> int:
        """The number of steps (actions), t."""
        return len(self.observations) - 1

    @property
    def scored(self) -> bool:
        """Whether success or rewards are known."""
        return self.success is not None or self.rewards is not None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content: equal episodes have equal digests on every machine."""
        hasher = hashlib.sha256(b"episode/1")
        for name in ("observations", "actions", "rewards"):
            value = getattr(self, name)
            hasher.update(f"|{name}:".encode())
            if value is not None:
                little_endian = value.astype(value.dtype.newbyteorder("<"), copy=False)
                hasher.update(f"{value.dtype.name}{value.shape}".encode())
                hasher.update(np.ascontiguousarray(little_endian).tobytes())
        hasher.update(f"|success:{self.success}".encode())
        return hasher.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as requests and files hold them. `Episode.of(**fields)` gives the episode back."""
        return {
            "observations": self.observations,
            "actions": self.actions,
            "rewards": self.rewards,
            "success": self.success,
        }

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON, with the fewest digits that `Episode.of(**fields)` makes the same episode of."""
        return {
            name: _digits(value) if isinstance(value, np.ndarray) else value for name, value in self.to_dict().items()
        }

    def arrays(self) -> dict[str, Array]:
        """The arrays that the episode has, by the names of their fields."""
        return {name: value for name, value in self.to_dict().items() if isinstance(value, np.ndarray)}

    def without_actions(self) -> "Episode":
        """The episode without its actions, as an observer saw it."""
        return replace(self, actions=None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Episode) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def _shape(value: Array) -> str:
    return f"shape {list(value.shape)}"


def _digits(array: Array) -> list[Any]:
    """The numbers as lists, those of float32 with the fewest digits that read back as the same."""
    return (array.astype("U32").astype(np.float64) if array.dtype == np.float32 else array).tolist()


def check_finite(field: str, array: Array) -> Array:
    """Return `array` if it has neither NaN nor infinity. Raises InvalidData."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidData(field, "finite numbers", f"{array[where]} at {list(where)}")
    return array


def numbers(field: str, value: object, *, keep_uint8: bool = False, discrete: bool = False) -> Array:
    """Canonical copy of real numbers: float32, or uint8 pixels, or int64 for 1-D integer actions.

    Raises:
        InvalidData: strings, booleans, ragged nestings, or nothing at all.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidData(field, "a rectangular array of numbers", "ragged or mixed nesting") from error
    if array.size == 0:
        raise InvalidData(field, "at least one step", f"an empty array of {_shape(array)}")
    if array.dtype.kind not in "fiu" or _holds_booleans(value):
        got = "booleans" if array.dtype.kind in "bfiu" else _intruder(value) or f"dtype {array.dtype}"
        raise InvalidData(field, "a rectangular array of numbers", got)
    if keep_uint8 and array.dtype == np.uint8:
        return array.copy()
    if discrete and array.ndim == 1 and array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype == np.float32:
        return array.copy()
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _intruder(value: object, where: tuple[int, ...] = ()) -> str | None:
    """What in a (nested) list made numpy give up on numbers, and where it stands."""
    if isinstance(value, list | tuple):
        return next((found for i, item in enumerate(value) if (found := _intruder(item, (*where, i)))), None)
    if isinstance(value, int) and not isinstance(value, bool):
        kind = None if -(2**63) <= value < 2**64 else "an integer beyond 64 bits"
    elif isinstance(value, float | np.number) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiu"):
        kind = None
    else:
        kinds = {type(None): "null", bool: "a boolean", str: "a string", dict: "an object"}
        kind = kinds.get(type(value), type(value).__name__)
    return f"{kind} at {list(where)}" if kind else None


def _rewards(value: object) -> Array:
    array = numbers("rewards", value)
    if array.ndim != 1:
        raise InvalidData("rewards", "[t]", _shape(array))
    return array


def _holds_booleans(value: object) -> bool:
    """Whether a (nested) list has a bool in it, which numpy would silently turn into a number."""
    if isinstance(value, bool):
        return True
    if isinstance(value, list | tuple):
        return not _NUMBERS.issuperset(map(type, value)) and any(map(_holds_booleans, value))
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "b"
