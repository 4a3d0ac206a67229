"""Episodes: what happened once, as frozen arrays.

Knows shapes, dtypes, finiteness and the names of parts. Does not know what is allowed (`spec`), tasks or models.
Axes: t steps, o observation, a action.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from metalearn.data.errors import InvalidData
from metalearn.data.parts import SEPARATOR, by_name, joined, split
from metalearn.data.pixels import PackedRows
from metalearn.data.values import Array, check_finite, column, components, flag, numbers

__all__ = ["Array", "Episode", "PackedEpisode"]

_PART = f"observations{SEPARATOR}"


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode: t >= 1 actions between t + 1 observations.

    Attributes:
        observations: `[t+1, *o]`, float32 (or uint8 for images); `[t+1]` with a field for each part of a composite
            observation (`metalearn.data.spaces`).
        actions: `[t, *a]` float32 (continuous), `[t]` or `[t, k]` int64 (discrete, or k discrete ones at once), or
            None for an observation-only demo.
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
        n_axes = 1 if self.observations.dtype.names else 2
        if self.observations.ndim < n_axes or len(self.observations) < 2:
            shape = _shape(self.observations)
            raise InvalidData("observations", "[t+1, o] with at least one step (t >= 1)", shape)
        n_steps = len(self.observations) - 1
        self.observations.flags.writeable = False
        for name, value in self.arrays().items():
            if name in {"actions", "rewards"} and len(value) != n_steps:
                expected = f"{n_steps} steps (one fewer than the {n_steps + 1} observations)"
                raise InvalidData(name, expected, f"{len(value)}")
            check_finite(name.replace(SEPARATOR, ".", 1), value).flags.writeable = False

    @classmethod
    def of(
        cls,
        observations: object,
        actions: object = None,
        rewards: object = None,
        success: object = None,
    ) -> "Episode":
        """Make an episode of whatever holds numbers: lists, arrays of any real dtype, tensors on the CPU.

        What has one component may be written with or without its axis: observations `[t+1]`, actions `[t]` of floats,
        rewards `[t, 1]`. Booleans alone are 0 and 1. An outcome of NaN is unknown. Strings, booleans among numbers,
        ragged nestings, other outcomes than 0 and 1, and otherwise NaN and infinities are refused.

        Args:
            observations: numbers, or those of each part in (nested) mappings, `{"robot": [t+1, 2], "camera":
                {"front": [t+1, h, w, 3]}}`, or a mapping for each step.
            actions: numbers; of `[t, k]` integers only `Spec.fit` knows whether they are choices.
            rewards: a number for each step.
            success: whether the task was solved.

        Raises:
            InvalidData: naming field, expected and got.
        """
        outcome = flag("success", success)
        acted = None if actions is None else numbers("actions", actions, discrete=True)
        return cls(
            observations=_observed(observations),
            actions=acted if acted is None or acted.dtype.kind == "i" else components(acted),
            rewards=None if rewards is None else column("rewards", numbers("rewards", rewards)),
            success=outcome,
        )

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array], success: bool | None) -> "Episode":
        """The episode that `arrays` and `success` were taken from, as files hold it. Raises InvalidData, KeyError."""
        parts = {name.removeprefix(_PART): array for name, array in arrays.items() if name.startswith(_PART)}
        observations = joined(parts) if parts else arrays["observations"]
        return cls(observations, arrays.get("actions"), arrays.get("rewards"), success)

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
        arrays = self.arrays()
        observed = [name for name in arrays if name not in {"actions", "rewards"}]
        for name in (*observed, "actions", "rewards"):
            hasher.update(f"|{name}:".encode())
            if (value := arrays.get(name)) is not None:
                little_endian = value.astype(value.dtype.newbyteorder("<"), copy=False)
                hasher.update(f"{value.dtype.name}{value.shape}".encode())
                hasher.update(np.ascontiguousarray(little_endian).tobytes())
        hasher.update(f"|success:{self.success}".encode())
        return hasher.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as requests hold them; observations with parts are a mapping.

        `Episode.of(**fields)` gives the episode back, and `Spec.fit` its choices if it makes several at a time.
        """
        whole = self.observations.dtype.names is None
        return {
            "observations": self.observations if whole else split(self.observations),
            "actions": self.actions,
            "rewards": self.rewards,
            "success": self.success,
        }

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON, with the fewest digits that `Episode.of(**fields)` makes the same episode of."""
        return {name: _digits(value) for name, value in self.to_dict().items()}

    def arrays(self) -> dict[str, Array]:
        """The arrays that the episode has, by the names of their fields, with those of parts: `observations/camera`.

        `Episode.of_arrays` is its inverse.
        """
        parts = {f"{_PART}{name}" if name else "observations": part for name, part in split(self.observations).items()}
        others = {"actions": self.actions, "rewards": self.rewards}
        return parts | {name: array for name, array in others.items() if array is not None}

    def without_actions(self) -> "Episode":
        """The episode without its actions, as an observer saw it."""
        return replace(self, actions=None)

    def packed(self) -> "PackedEpisode":
        """The same episode in less memory."""
        return PackedEpisode(self.observations, self.actions, self.rewards, self.success)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Episode) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


class PackedEpisode(Episode):
    """An episode whose observations are kept compressed, as `rows`, and are made anew whenever they are asked for."""

    rows: PackedRows

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rows", PackedRows.of(self.observations))
        del self.__dict__["observations"]

    def __getattr__(self, name: str) -> Any:
        if name == "observations" and "rows" in self.__dict__:
            return self.rows[:]
        raise AttributeError(name)

    def __len__(self) -> int:
        return len(self.rows) - 1

    def packed(self) -> "PackedEpisode":
        """Itself."""
        return self


def _observed(value: object) -> Array:
    parts = by_name(value)
    if parts is None:
        return components(numbers("observations", value, keep_uint8=True))
    return joined({name: numbers(f"observations.{name}", part, keep_uint8=True) for name, part in parts.items()})


def _shape(value: Array) -> str:
    return f"shape {list(value.shape)}"


def _digits(value: Any) -> Any:
    """Arrays as lists, numbers of float32 with the fewest digits that read back as the same."""
    if isinstance(value, dict):
        return {name: _digits(part) for name, part in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    return (value.astype("U32").astype(np.float64) if value.dtype == np.float32 else value).tolist()
