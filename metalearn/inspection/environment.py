"""Whether a task's environment keeps the rules: Gymnasium's checker, seeds, spaces, `success`, the end of an episode.

Looks at one environment of each scene, as `family.make` gives it. Knows no expert and nothing of learning.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from metalearn.data.parts import named
from metalearn.tasks.family import Family, Scene, TaskId
from metalearn.tasks.user_code import user_code

SCENES: tuple[Scene, Scene] = ("demo", "trial")
N_EPISODES = 3
_NOT_OURS = ("different from the unwrapped version", "alternative render modes")
"""What the checker warns of and is no concern here: wrappers are welcome, and nothing is rendered."""


@dataclass(frozen=True)
class EnvironmentReport:
    """What was found in one scene.

    Attributes:
        scene: "demo" or "trial".
        checker: Gymnasium's checker: what it warns of.
        refusal: why the checker refuses the environment; empty if it does not.
        differing_resets: what differs between two environments of one task after a reset with one seed; empty: nothing.
        differing_steps: the same after the same actions.
        spaces: how the environment's spaces differ from those of the family's spec; empty: they do not.
        outside: an observation that its space does not contain; empty: none.
        says_success: whether an info held `success` in every episode that ended.
        longest: steps of the longest of a few episodes of random actions; None where one did not end in time.
    """

    scene: Scene
    checker: tuple[str, ...]
    refusal: str
    differing_resets: str
    differing_steps: str
    spaces: tuple[str, ...]
    outside: str
    says_success: bool
    longest: int | None


def check_environment(family: Family, scene: Scene) -> EnvironmentReport:
    """Check the first training task of a family. Raises InvalidConfig where its code raises."""
    index = family.splits["train"][0]
    said, refusal = _gymnasiums_checker(family, index, scene)
    with user_code(f"task {TaskId(family.name, index)} in the scene {scene!r}"):
        pair = family.make(index, scene), family.make(index, scene)
        try:
            resets, steps = _compared(*pair)
            spaces = tuple(
                f"the environment's {kind} space is {theirs}, and the spec's {ours}"
                for kind, theirs, ours in (
                    ("observation", pair[0].observation_space, family.spec.observation_space),
                    ("action", pair[0].action_space, family.spec.action_space),
                )
                if theirs != ours
            )
            outside, says_success, longest = _played(pair[0], family.spec.horizon)
        finally:
            for env in pair:
                env.close()
    return EnvironmentReport(scene, said, refusal, resets, steps, spaces, outside, says_success, longest)


def overlapping_splits(family: Family) -> tuple[str, ...]:
    """Pairs of splits that have tasks in common, as `train and test`."""
    return tuple(
        f"{one} and {other}"
        for (one, ours), (other, theirs) in combinations(family.splits.items(), 2)
        if min(ours[-1], theirs[-1]) >= max(ours[0], theirs[0]) and not set(ours).isdisjoint(theirs)
    )


def _gymnasiums_checker(family: Family, index: int, scene: Scene) -> tuple[tuple[str, ...], str]:
    """What the checker warns of, and the sentence with which it refuses the environment."""
    refusal = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = family.make(index, scene)
        try:
            check_env(env, skip_render_check=True)
        except Exception as error:  # the checker asserts, and calls code that may raise anything
            refusal = _sentence(f"{error}" or type(error).__name__)
        finally:
            env.close()
    said = [_sentence(str(one.message)) for one in caught if "gymnasium" in str(one.filename)]
    wanted = dict.fromkeys(one for one in said if not any(words in one for words in _NOT_OURS))
    return tuple(wanted), refusal


def _sentence(text: str) -> str:
    """A warning of Gymnasium's without its colours, on one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
    return " ".join(plain.removeprefix("WARN:").split())


def _compared(env: gym.Env[Any, Any], twin: gym.Env[Any, Any]) -> tuple[str, str]:
    """What differs between two environments of one task after a reset with one seed, and after the same actions."""
    first, second = env.reset(seed=11)[0], twin.reset(seed=11)[0]
    resets = _difference(first, second)
    env.action_space.seed(11)
    for _ in range(10):
        action = env.action_space.sample()
        outcome, again = env.step(action), twin.step(action)
        differing = _difference(outcome[0], again[0]) or ("reward" if outcome[1] != again[1] else "")
        if differing or resets:
            return resets, differing
        if outcome[2] or outcome[3]:
            break
    return resets, ""


def _difference(one: object, other: object) -> str:
    """The first part of an observation that differs; empty where all are equal."""
    ours, theirs = _parts(one), _parts(other)
    if ours.keys() != theirs.keys():
        return "the names of the observation's parts"
    for name, part in ours.items():
        if not np.array_equal(part, theirs[name], equal_nan=True):
            return f"observation part {name!r}" if name else "observation"
    return ""


def _parts(observation: object) -> Mapping[str, np.ndarray]:
    return {name: np.asarray(part) for name, part in named(observation).items()}


def _played(env: gym.Env[Any, Any], horizon: int) -> tuple[str, bool, int | None]:
    """Episodes of random actions: an observation that is out of bounds, whether success is said, the longest."""
    outside, says_success, longest = "", True, 0
    env.action_space.seed(5)
    for episode in range(N_EPISODES):
        observation, _ = env.reset(seed=100 + episode)
        ended, said, steps = False, False, 0
        while not ended and steps < horizon:
            outside = outside or _outside(env.observation_space, observation)
            observation, _, terminated, truncated, info = env.step(env.action_space.sample())
            ended, said, steps = bool(terminated or truncated), said or "success" in info, steps + 1
        if not ended:
            return outside, says_success and said, None
        says_success, longest = says_success and said, max(longest, steps)
    return outside, says_success, longest


def _outside(space: gym.Space[Any], observation: Any) -> str:
    """How an observation differs from what its space contains; empty if it is inside."""
    if space.contains(observation):
        return ""
    spaces_of, parts = named(space), _parts(observation)
    if spaces_of.keys() != parts.keys():
        return f"it has the parts {sorted(parts)}, and the space {sorted(spaces_of)}"
    for name, part in parts.items():
        leaf, called = spaces_of[name], f"part {name!r}: " if name else ""
        if leaf.contains(part):
            continue
        if part.shape != leaf.shape:
            return f"{called}shape {list(part.shape)} where the space has {list(leaf.shape)}"
        if isinstance(leaf, gym.spaces.Box) and not np.can_cast(part.dtype, np.dtype(leaf.dtype)):
            return f"{called}dtype {part.dtype} where the space has {leaf.dtype}"
        if isinstance(leaf, gym.spaces.Box):
            place = np.unravel_index(int(np.argmax(np.maximum(leaf.low - part, part - leaf.high))), part.shape)
            where = [int(i) for i in place]
            low, high = leaf.low[place], leaf.high[place]
            return f"{called}{part[place]:g} at {where}, where the bounds are {low:g} and {high:g}"
    return "it is not what the space contains"
