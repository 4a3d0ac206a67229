"""What a person may steer with, offered from the action space; and the action that an input stands for.

Four kinds: "pointer" (a Box of two numbers, or an environment that knows `pointer_action`), "keys" (one choice),
"axes" (more numbers, or several choices at once). Knows no page: an input is numbers and names of keys.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from metalearn.data.errors import InvalidData
from metalearn.data.spaces import choices
from metalearn.data.spec import Spec
from wtl.play.stage import Stage

ARROWS = {"d": "ArrowRight", "a": "ArrowLeft", "w": "ArrowUp", "s": "ArrowDown", " ": "Space"}
"""Other keys for the letters that Gymnasium's environments use, by the names of `KeyboardEvent.code`."""

_SPAN = 10.0  # of a slider, where a Box has no bounds


@dataclass(frozen=True)
class Controls:
    """A mapping from inputs to actions.

    Attributes:
        kind: "pointer", "keys" or "axes".
        keys: for "keys", the action of each key, and its other name.
        axes: for "pointer" and "axes", lowest and highest value of each component, and whether it is whole.
        follows: a pointer says where to go, not in which direction.
        n: for "keys", the number of choices, and `start` the first of them.
    """

    kind: str
    keys: Mapping[str, int] = field(default_factory=dict)
    axes: tuple[tuple[float, float, bool], ...] = ()
    follows: bool = False
    n: int = 0
    start: int = 0

    def to_json(self) -> dict[str, Any]:
        """The mapping, as the page shows it."""
        names = [
            {"action": action, "key": key, "other": ARROWS.get(key)}
            for key, action in sorted(self.keys.items(), key=lambda one: one[1])
        ]
        axes = [{"low": low, "high": high, "whole": is_whole} for low, high, is_whole in self.axes]
        choices_ = [self.start + i for i in range(self.n)]
        return {"kind": self.kind, "keys": names, "axes": axes, "follows": self.follows, "choices": choices_}


def controls_of(stage: Stage) -> Controls:
    """The controls that fit the action space of a stage."""
    space = stage.family.spec.action_space
    if isinstance(space, spaces.Discrete):
        first, n = int(space.start), int(space.n)
        known = {key: int(action) for key, action in stage.keys.items()}
        counted = {"1234567890"[i]: first + i for i in range(min(n, 10))}
        return Controls("keys", keys=known or counted, n=n, start=first)
    axes = tuple(_axes(stage.family.spec))
    follows = stage.pointer_action(0.5, 0.5) is not None
    continuous = isinstance(space, spaces.Box)
    return Controls("pointer" if follows or (continuous and len(axes) == 2) else "axes", axes=axes, follows=follows)


def _axes(spec: Spec) -> list[tuple[float, float, bool]]:
    space = spec.action_space
    if not isinstance(space, spaces.Box):
        lowest, n = (np.ravel(one).tolist() for one in choices(space))
        return [(float(low), float(low + size - 1), True) for low, size in zip(lowest, n, strict=True)]
    low, high = (np.nan_to_num(np.ravel(bound), posinf=_SPAN, neginf=-_SPAN) for bound in (space.low, space.high))
    return [
        (float(max(a, -_SPAN)), float(min(b, _SPAN)), np.issubdtype(space.dtype, np.integer))
        for a, b in zip(low, high, strict=True)
    ]


def action_of(controls: Controls, stage: Stage, given: Mapping[str, Any]) -> Any:
    """The action of an input: `{choice}`, `{at: [x, y]}` in the picture, or `{values: [-1 .. 1, ...]}` of the range.

    Raises:
        InvalidData: the input is none of this environment.
    """
    spec = stage.family.spec
    if controls.kind == "keys":
        choice = given.get("choice")
        if not isinstance(choice, int) or not controls.start <= choice < controls.start + controls.n:
            last = controls.start + controls.n - 1
            raise InvalidData("input.choice", f"a whole number from {controls.start} to {last}", repr(choice)[:40])
        return choice
    if controls.follows and "at" in given:
        x, y = numbers_of("input.at", given["at"], 2)
        return np.asarray(stage.pointer_action(x, y), spec.action_space.dtype).reshape(spec.actions.shape)
    values = numbers_of("input.values", given.get("values"), len(controls.axes))
    scaled = [
        low + (min(1.0, max(-1.0, value)) + 1) / 2 * (high - low)
        for value, (low, high, _) in zip(values, controls.axes, strict=True)
    ]
    whole = [round(one) if axis[2] else one for one, axis in zip(scaled, controls.axes, strict=True)]
    return np.asarray(whole, spec.action_space.dtype).reshape(spec.actions.shape)


def rest(controls: Controls) -> dict[str, Any]:
    """The input of somebody who touches nothing: the middle of every range. A choice has none."""
    return {"values": [0.0] * len(controls.axes)}


def numbers_of(name: str, given: object, n: int) -> list[float]:
    """n finite numbers of a page. Raises InvalidData."""
    if not isinstance(given, list) or len(given) != n or not all(_is_number(one) for one in given):
        raise InvalidData(name, f"{n} numbers", repr(given)[:60])
    return [float(one) for one in given]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
