"""Families by name. Loads a family's module only when it is asked for: simulators are heavy."""

import difflib
import importlib

import gymnasium as gym

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.family import Family

FAMILIES = {
    "reach-m2": "metalearn.tasks.registry:reach_m2",
    "reach-m4": "metalearn.tasks.registry:reach_m4",
    "reach-colour": "metalearn.tasks.registry:reach_colour",
    "push": "metalearn.tasks.metaworld:Push",
    "push-strict": "metalearn.tasks.metaworld:PushStrict",
    "pick-place": "metalearn.tasks.metaworld:PickPlace",
    "pick-place-strict": "metalearn.tasks.metaworld:PickPlaceStrict",
}
"""Name of a family -> `module:factory`."""


def find_family(name: str) -> Family:
    """A family by its registered name, or the user's own as `module:Class`.

    Raises:
        InvalidConfig: an unknown name (with a suggestion), or something that is not a family.
    """
    target = FAMILIES.get(name, name)
    module_name, colon, attribute = target.partition(":")
    if not colon:
        close = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(FAMILIES)}"
        raise InvalidConfig(f"unknown family {name!r}; {hint} Your own is named module:Class")
    try:
        family = getattr(importlib.import_module(module_name), attribute)()
    except (ImportError, AttributeError) as error:
        raise InvalidConfig(f"family {name!r} cannot be loaded: {error}") from error
    if not isinstance(family, Family):
        missing = [m for m in ("name", "version", "spec", "splits", "make") if not hasattr(family, m)]
        raise InvalidConfig(f"{name!r} is not a family: it lacks {', '.join(missing)}")
    return family


def reach_m2() -> Family:
    """4 objects, 2 candidates."""
    from metalearn.tasks.reach import Reach

    return Reach("reach-m2", n_objects=4, n_candidates=2)


def reach_m4() -> Family:
    """6 objects, 4 candidates."""
    from metalearn.tasks.reach import Reach

    return Reach("reach-m4", n_objects=6, n_candidates=4)


def reach_colour() -> Family:
    """4 objects known by their colour, 2 candidates, held-out colours."""
    from metalearn.tasks.reach import Reach

    return Reach("reach-colour", n_objects=4, n_candidates=2, coloured=True)


def register_envs() -> None:
    """Register one Gymnasium environment per family, `wtl/NAME-v0` with arguments `index` and `scene`."""
    for name in FAMILIES:
        env_id = f"wtl/{name}-v0"
        if env_id not in gym.registry:
            gym.register(env_id, entry_point="metalearn.tasks.registry:make_env", kwargs={"family": name})


def make_env(
    family: str, index: int = 0, scene: str = "trial", render_mode: str | None = None
) -> "gym.Env[object, object]":
    """One task of a registered family: what `gym.make("wtl/reach-m2-v0", index=3)` calls."""
    if scene not in ("demo", "trial"):
        raise InvalidConfig(f"scene: expected 'demo' or 'trial', got {scene!r}")
    return find_family(family).make(index, scene, render_mode)  # type: ignore[arg-type]
