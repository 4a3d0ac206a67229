"""How a recording becomes an episode: which observations in which order, which actions, what counts as success.

Does not know files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from metalearn.data.values import any_flag, flag, flags

SUCCESS_KEYS = ("success", "is_success", "next.success")
WORDS = {"yes": True, "no": False, "unknown": None}


@dataclass(frozen=True)
class Selection:
    """Which part of a recording to use.

    Attributes:
        observations: keys to concatenate, in this order; may be empty where there is only one.
        success: `auto` (a success flag if there is one, else what is usual in the format), `reward` (some reward is
            positive), `terminated` (the environment ended it), `yes`, `no`, `unknown`, or a key: its last value,
            as `any:KEY` whether it was ever true.
        episodes: which, counted from 0 in the order of the recording; None for all.
        actions: the key of the actions, where that is not the usual one.
    """

    observations: tuple[str, ...] = ()
    success: str = "auto"
    episodes: tuple[int, ...] | None = None
    actions: str | None = None

    def pick(self, n_episodes: int) -> Sequence[int]:
        """The numbers of the episodes to read, of this many. Raises InvalidData."""
        if n_episodes == 0:
            raise InvalidData("episodes", "at least one episode", "none")
        wanted = range(n_episodes) if self.episodes is None else self.episodes
        for index in wanted:
            if not 0 <= index < n_episodes:
                raise InvalidData("episodes", f"numbers from 0 to {n_episodes - 1}", str(index))
        return wanted


@dataclass(frozen=True)
class Recorded:
    """The episodes of a dataset, and its steps per second if it says so."""

    episodes: tuple[Episode, ...]
    rate_hz: float | None = None

    @classmethod
    def of(cls, episodes: Sequence[Episode], rate_hz: object = None) -> "Recorded":
        """Make one; a rate that is not a positive number is ignored."""
        known = isinstance(rate_hz, int | float) and not isinstance(rate_hz, bool) and 0 < rate_hz < math.inf
        return cls(tuple(episodes), float(rate_hz) if known else None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Steps:
    """One episode as recorded: t actions, and t or t + 1 of every observation, by their keys.

    `terminated` is the last flag of it, and `flags` are as recorded too: they are read only if they are asked for.
    """

    observations: Mapping[str, Array]
    actions: Array
    rewards: Array | None = None
    terminated: object = None
    flags: Mapping[str, Array] = field(default_factory=dict)


def to_episode(steps: Steps, selection: Selection, usual_success: str = "unknown") -> Episode:
    """The episode. A recording without the observation after the last action loses that action.

    Raises:
        InvalidData: naming field, expected and got.
    """
    observations = _observations(steps, selection.observations)
    n_seen, n_done = len(observations), len(steps.actions)
    if n_seen not in {n_done, n_done + 1}:
        raise InvalidData("observations", f"{n_done} or {n_done + 1} of them for {n_done} actions", str(n_seen))
    success = _success(steps, selection.success, usual_success)
    n_steps = n_seen - 1
    rewards = None if steps.rewards is None else steps.rewards[:n_steps]
    return Episode.of(observations, steps.actions[:n_steps], rewards, success)


def _observations(steps: Steps, keys: tuple[str, ...]) -> Array:
    known = ", ".join(sorted(steps.observations)) or "none"
    if not keys and len(steps.observations) != 1:
        raise InvalidData("observations", f"the keys to use, in order: some of {known}", "none")
    for key in keys:
        if key not in steps.observations:
            raise InvalidData("observations", f"some of {known}", key)
    parts = [np.asarray(steps.observations[key]) for key in (keys or steps.observations)]
    for key, part in zip(keys or steps.observations, parts, strict=True):
        if part.dtype.kind not in "biuf" or part.ndim == 0:
            raise InvalidData(f"observations.{key}", "numbers", f"{part.dtype} of shape {list(part.shape)}")
        if len(part) != len(parts[0]):
            raise InvalidData(f"observations.{key}", f"{len(parts[0])} steps", f"{len(part)}")
    if len(parts) == 1 and parts[0].ndim > 1:
        return parts[0]
    return np.concatenate([part.reshape(len(part), -1).astype(np.float32) for part in parts], axis=1)


def _success(steps: Steps, rule: str, usual: str) -> bool | None:
    if rule == "auto":
        rule = next((key for key in SUCCESS_KEYS if len(steps.flags.get(key, ()))), usual)
    if rule in WORDS:
        return WORDS[rule]
    if rule == "reward":
        return None if steps.rewards is None else bool((np.asarray(steps.rewards) > 0).any())
    if rule == "terminated":
        return flag("terminated", steps.terminated)
    key = rule.removeprefix("any:")
    recorded = np.asarray(steps.flags.get(key, ()))
    if not recorded.size:
        known = ", ".join((*sorted(steps.flags), "auto", "reward", "terminated", *WORDS))
        raise InvalidData("success", f"one of {known}", key or "nothing")
    found = flags(key, recorded)
    return any_flag(found) if rule.startswith("any:") else found[-1]
