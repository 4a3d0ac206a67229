"""Families by name: one line each in `FAMILIES`; and as Gymnasium environments.

The module of a family is imported only when the family is asked for, because simulators are slow to import.
"""

import difflib
import importlib
import re
from collections.abc import Mapping
from typing import Any, cast

import gymnasium as gym

from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.family import Family, Scene
from metalearn.tasks.user_code import user_code

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


FAMILIES = {
    "reach-m2": "metalearn.tasks.envs.reach:reach_m2",
    "reach-m4": "metalearn.tasks.envs.reach:reach_m4",
    "reach-m2-unseen": "metalearn.tasks.envs.reach:reach_m2_unseen",
    "reach-m4-unseen": "metalearn.tasks.envs.reach:reach_m4_unseen",
    "reach-colour": "metalearn.tasks.envs.reach:reach_colour",
    "reach-dynamics": "metalearn.tasks.envs.reach_dynamics:reach_dynamics",
    "reach-pixels": "metalearn.tasks.envs.reach_pixels:reach_pixels",
    "reach-manners": "metalearn.tasks.envs.reach_manners:reach_manners",
    "reach-skilled": "metalearn.tasks.envs.reach_manners:reach_skilled",
    "reach-beyond": "metalearn.tasks.envs.reach_manners:reach_beyond",
    "reach-plain": "metalearn.tasks.envs.reach_manners:reach_plain",
    "grid-manners": "metalearn.tasks.envs.grid_manners:GridManners",
    "cheetah-manners": "metalearn.tasks.envs.cheetah_manners:CheetahManners",
    "push": "metalearn.tasks.envs.metaworld.push_and_pick:Push",
    "push-strict": "metalearn.tasks.envs.metaworld.push_and_pick:PushStrict",
    "push-pixels": "metalearn.tasks.envs.metaworld.push_pixels:PushPixels",
    "push-pixels-strict": "metalearn.tasks.envs.metaworld.push_pixels:PushPixelsStrict",
    "pick-place": "metalearn.tasks.envs.metaworld.push_and_pick:PickPlace",
    "pick-place-strict": "metalearn.tasks.envs.metaworld.push_and_pick:PickPlaceStrict",
    "dark-room": "metalearn.tasks.envs.dark_room:DarkRoom",
    "key-to-door": "metalearn.tasks.envs.dark_room:KeyToDoor",
    "key-to-door-strict": "metalearn.tasks.envs.dark_room:StrictKeyToDoor",
    "cheetah-vel": "metalearn.tasks.envs.cheetah:CheetahVel",
    "cheetah-distance": "metalearn.tasks.envs.cheetah:cheetah_distance",
    "gambling": "metalearn.tasks.envs.gambling:Gambling",
    "ml10": "metalearn.tasks.envs.metaworld.ml10:ML10",
    "ml10-frozen": "metalearn.tasks.envs.metaworld.ml10:ML10Frozen",
    "push-blind": "metalearn.tasks.envs.metaworld.push_blind:PushBlind",
    "push-blind-strict": "metalearn.tasks.envs.metaworld.push_blind:PushBlindStrict",
    "push-blind-dense": "metalearn.tasks.envs.metaworld.push_blind:PushBlindDense",
    "babyai-go-to-red-ball": "metalearn.tasks.envs.babyai:go_to_red_ball",
    "babyai-go-to-local": "metalearn.tasks.envs.babyai:go_to_local",
    "babyai-put-next-local": "metalearn.tasks.envs.babyai:put_next_local",
}
"""Name of a family -> `module:Class`, or a function in place of the class; called without arguments."""


def find_family(name: str) -> Family:
    """A family by its registered name, or your own as `module:Class`.

    Raises:
        InvalidConfig: an unknown name (with a suggestion), or something that is not a family.
    """
    target = FAMILIES.get(name, name)
    module_name, colon, attribute = target.partition(":")
    if not colon:
        close = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(FAMILIES)}"
        raise InvalidConfig(f"unknown family {name!r}; {hint} Your own is named module:Class")
    with user_code(f"family {name!r} cannot be loaded"):
        family = getattr(importlib.import_module(module_name), attribute)()
        if not isinstance(family, Family):
            missing = [m for m in ("name", "version", "spec", "splits", "make") if not hasattr(family, m)]
            raise InvalidConfig(f"{name!r} is not a family: it lacks {', '.join(missing)}")
        return _checked(name, family)


def _checked(given: str, family: Family) -> Family:
    """Return the family if its members have the types of the protocol. Raises InvalidConfig."""
    splits = family.splits
    for field, right, expected in (
        ("name", isinstance(family.name, str) and _NAME.fullmatch(family.name), "letters, digits, '.', '_' and '-'"),
        ("version", isinstance(family.version, int), "a whole number"),
        ("spec", isinstance(family.spec, Spec), "a Spec"),
        ("splits", isinstance(splits, Mapping) and {"train", "validation", "test"} <= set(splits),
         "ranges of indices for train, validation and test"),
    ):  # fmt: skip
        if not right:
            raise InvalidConfig(f"family {given!r}: {field}: expected {expected}, got {getattr(family, field)!r:.80}")
    for split, indices in splits.items():
        if not isinstance(indices, range) or not indices:
            raise InvalidConfig(
                f"family {given!r}: splits[{split!r}]: expected a range with tasks, got {indices!r:.80}"
            )
    return family


def register_envs() -> None:
    """Register one Gymnasium environment per family, `wtl/NAME-v0` with arguments `index` and `scene`."""
    for name in FAMILIES:
        env_id = f"wtl/{name}-v0"
        if env_id not in gym.registry:
            gym.register(env_id, entry_point="metalearn.tasks.registry:make_env", kwargs={"family": name})


def make_env(
    family: str, index: int | None = None, scene: str = "trial", render_mode: str | None = None
) -> "gym.Env[Any, Any]":
    """A registered family for `gym.make("wtl/reach-m2-v0")`: the task `index`, or one chosen at every reset."""
    if scene not in ("demo", "trial"):
        raise InvalidConfig(f"scene: expected 'demo' or 'trial', got {scene!r}")
    found, where = find_family(family), cast(Scene, scene)
    if index is not None:
        return found.make(index, where, render_mode)
    return ChosenTaskEnv(found, where, render_mode)


class ChosenTaskEnv(gym.Env[Any, Any]):
    """All tasks of a family as one environment: `reset` chooses the task, by name or by the seed.

    `reset(options={"task": 3})` starts task 3, and `{"split": "test"}` draws one of a split; otherwise one is drawn of
    the training split. The info of `reset` says which `task` it is.
    """

    def __init__(self, family: Family, scene: Scene = "trial", render_mode: str | None = None) -> None:
        self._family, self._scene, self.render_mode = family, scene, render_mode
        self._task = family.splits["train"][0]
        self._env = family.make(self._task, scene, render_mode)
        self.metadata = self._env.metadata
        self.observation_space, self.action_space = family.spec.observation_space, family.spec.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode in the chosen task. Raises InvalidConfig for a task or a split that is not there."""
        super().reset(seed=seed)
        task = self._chosen(dict(options or {}))
        if task != self._task:
            self._env.close()
            self._task, self._env = task, self._family.make(task, self._scene, self.render_mode)
        observation, info = self._env.reset(seed=int(self.np_random.integers(2**31)))
        return observation, info | {"task": task}

    def _chosen(self, options: dict[str, Any]) -> int:
        splits = self._family.splits
        if unknown := options.keys() - {"task", "split"}:
            raise InvalidConfig(f"options: expected task or split, got {min(unknown)!r}")
        if "task" in options:
            task = options["task"]
            if not isinstance(task, int) or not any(task in indices for indices in splits.values()):
                known = ", ".join(f"{r.start}..{r.stop - 1} ({name})" for name, r in splits.items())
                raise InvalidConfig(f"options: task: expected an index of {known}, got {task!r}")
            return task
        split = options.get("split", "train")
        if split not in splits:
            raise InvalidConfig(f"options: split: expected one of {sorted(splits)}, got {split!r}")
        return splits[split][int(self.np_random.integers(len(splits[split])))]

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step in the task; the info says `success`."""
        return self._env.step(action)

    def expert_action(self) -> Any:
        """The expert's action in the current state; None if the family has no expert."""
        expert = getattr(self._env.unwrapped, "expert_action", None)
        return None if expert is None else expert()

    def render(self) -> Any:
        """A picture of the current state."""
        return self._env.render()

    def close(self) -> None:
        """Close the environment of the task."""
        self._env.close()
