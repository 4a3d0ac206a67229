"""What a recording says, read naively: the oracle of the fuzzing. Does not use the readers, nor `Episode`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Tree = dict[str, Any]
"""Members by their paths: arrays, numbers, text. The order is that in the file."""
OBSERVATION_SIZE, ACTION_SIZE = 4, 2


class Contradiction(Exception):
    """A recording that says nothing plain: a reader has to refuse it, or to remark on it."""


@dataclass(frozen=True)
class Told:
    """The numbers of one episode, as float32."""

    observations: Array
    actions: Array | None
    rewards: Array | None
    success: bool | None

    def same(self, other: "Told") -> bool:
        """Whether both say the same."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("observations", "actions", "rewards"))
        return self.success is other.success and all(
            a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs
        )


@dataclass(frozen=True)
class Recording:
    """All episodes, and their rate."""

    episodes: tuple[Told, ...]
    rate_hz: float | None

    def same(self, other: "Recording") -> bool:
        """Whether both say the same."""
        return (
            self.rate_hz == other.rate_hz
            and len(self.episodes) == len(other.episodes)
            and all(a.same(b) for a, b in zip(self.episodes, other.episodes, strict=True))
        )


def rows(value: Any, width: int) -> Array:
    """`[n, width]` as float32."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.ndim == 0 or not array.size:
            raise Contradiction
        with np.errstate(all="ignore"):
            found = array.astype(np.float32).reshape(len(array), -1)
    except (ValueError, TypeError, OverflowError) as error:
        raise Contradiction from error
    if found.shape[1] != width:
        raise Contradiction
    return found


def plain(value: Any) -> Array:
    """`[n, ...]` as float32: numbers per step."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim == 0 or not len(array):
        raise Contradiction
    with np.errstate(all="ignore"):
        return array.astype(np.float32)


def ends(flags: Sequence[Any], n: int) -> list[int]:
    """Where episodes end, after flags per step; also the end of the steps after the last flag."""
    last = np.zeros(n, bool)
    for one in flags:
        array = np.asarray(one)
        if array.dtype.kind not in "biuf" or array.size != n or not np.isin(array, [0, 1]).all():
            raise Contradiction
        last |= array.reshape(-1).astype(bool)
    found = [int(i) + 1 for i in np.flatnonzero(last)]
    return found if found and found[-1] == n else [*found, n]


def rate(value: Any) -> float | None:
    """Steps per second, if anything is said."""
    found = value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < math.inf:
        raise Contradiction
    return float(found)


def outcome(value: Any) -> bool | None:
    """The last of a success flag per step, or the one of an episode."""
    if value is None:
        return None
    flags = np.asarray([np.nan if one is None else one for one in value] if isinstance(value, list) else value)
    if flags.dtype.kind not in "biuf" or flags.ndim > 2:
        raise Contradiction
    if not flags.size:
        return None
    last = flags.reshape(-1)[-1].item()
    if last != last:
        return None
    if last not in {0, 1}:
        raise Contradiction
    return bool(last)


def episode(observations: Any, actions: Any, rewards: Any, success: Any, *, after: bool) -> Told:
    """One episode. `after` says whether there is an observation after the last action; if not, that action is lost."""
    seen = rows(observations, OBSERVATION_SIZE)
    acted = None if actions is None else rows(actions, ACTION_SIZE)
    earned = None if rewards is None else rows(rewards, 1)[:, 0]
    n = len(seen) - (1 if after else 0)
    if n < (1 if after else 2) or any(one is not None and len(one) != n for one in (acted, earned)):
        raise Contradiction
    steps = len(seen) - 1
    used = [one if one is None else one[: steps + extra] for one, extra in ((seen, 1), (acted, 0), (earned, 0))]
    if not all(one is None or np.isfinite(one).all() for one in used):
        raise Contradiction
    return Told(seen, used[1], used[2], outcome(success))


def under(tree: Mapping[str, Any], prefix: str) -> Tree:
    """The members below a path, by the rest of their paths."""
    return {name.removeprefix(prefix): value for name, value in tree.items() if name.startswith(prefix)}


def numbered(names: Sequence[str], prefix: str) -> list[str]:
    """What comes after the prefix in members such as `demo_3/...`, in the order of the numbers."""
    heads = {name.split("/")[0].removeprefix(prefix) for name in names if name.startswith(prefix)}
    return sorted((head for head in heads if head.isdecimal() and head.isascii()), key=int)
