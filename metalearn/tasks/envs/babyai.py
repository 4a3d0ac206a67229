"""Three levels of BabyAI, in which a task is one mission: go to an object, or put one next to another.

Chevalier-Boisvert et al., "BabyAI: First steps towards grounded language learning with a human in the loop" (2019).
Their levels draw a mission for each episode; here it is given, and everything else is drawn as they do. Observations
are theirs, without the mission, which has to be asked for or shown.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import GoToInstr, ObjDesc, PutNextInstr
from minigrid.utils.baby_ai_bot import BabyAIBot

from metalearn.data.spec import Spec
from metalearn.tasks.family import SPLITS, Scene

Thing = tuple[str, str]
"""A kind and a colour."""

VIEW = 7  # cells on each side of what the agent sees
N_THINGS = 8
ROOM_STEPS = 64  # that an episode may have for each thing to find
THINGS: tuple[Thing, ...] = tuple(
    (kind, colour) for kind in ("ball", "box", "key") for colour in ("red", "green", "blue", "purple", "yellow", "grey")
)
NEW_THINGS: frozenset[Thing] = frozenset({("ball", "purple"), ("box", "green"), ("key", "yellow")})
"""Things that no training goes to, whose kinds and colours it knows from other things."""
NEW_PAIR_EVERY = 6  # pairs of things, of which one in so many is put together in no training

GO_TO = (
    "go to the {thing}",
    "go to a {thing}",
    "walk to the {thing}",
    "move to the {thing}",
    "find the {thing}",
    "reach the {thing}",
    "look for a {thing} and stop in front of it",
    "go and stand in front of the {thing}",
    "your target is the {thing}",
    "the {thing}, please",
)
GO_TO_HELD_OUT = (
    "head over to the {thing}",
    "could you approach the {thing}?",
    "navigate towards a {thing}",
    "get close to the {thing}",
    "I want you next to the {thing}",
)
SYNONYMS = {
    "ball": "sphere", "box": "crate", "key": "latchkey", "red": "crimson", "green": "emerald", "blue": "azure",
    "purple": "violet", "yellow": "lemon-coloured", "grey": "ash-coloured",
}  # fmt: skip
"""Kinds and colours in words that no training has."""
PUT_NEXT = (
    "put the {thing} next to the {other}",
    "put the {thing} beside the {other}",
    "place the {thing} next to the {other}",
    "take the {thing} to the {other}",
    "move the {thing} to the {other}",
    "carry the {thing} over to the {other}",
    "pick up the {thing} and put it down next to the {other}",
    "bring the {thing} to the {other}, please",
)
PUT_NEXT_HELD_OUT = (
    "set the {thing} down close to the {other}",
    "could you drop the {thing} alongside the {other}?",
    "I want the {thing} right by the {other}",
    "grab the {thing} and leave it near the {other}",
)


@dataclass(frozen=True)
class BabyAI:
    """The tasks of a level: `missions` are things to go to, or pairs of which the first is put next to the second."""

    name: str
    missions: tuple[tuple[Thing, ...], ...]
    new: frozenset[tuple[Thing, ...]] = frozenset()
    version: int = 1

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task; those of training have none of the missions that are `new`."""
        return SPLITS

    @property
    def spec(self) -> Spec:
        """MiniGrid's: kind, colour and state of each cell before the agent, and the direction that it faces."""
        return Spec(
            _space(), spaces.Discrete(7), ROOM_STEPS * len(self.missions[0]), rate_hz=10.0, version=self.version
        )

    def mission(self, index: int) -> tuple[Thing, ...]:
        """The thing of a task to go to, or the two to put together."""
        known = index in SPLITS["train"]
        missions = [one for one in self.missions if one not in self.new] if known else self.missions
        return missions[index % len(missions)]

    def is_new(self, index: int) -> bool:
        """Whether a task has a mission that no training has."""
        return self.mission(index) in self.new

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index`, the same in both scenes."""
        return Level(self.mission(index), self.spec.horizon, render_mode)

    def sentences(self, index: int) -> tuple[str, ...]:
        """The mission as BabyAI says it, and in other words."""
        return self._said(index, GO_TO, PUT_NEXT)

    def held_out_sentences(self, index: int) -> tuple[str, ...]:
        """The mission in words that no training has."""
        return self._said(index, GO_TO_HELD_OUT, PUT_NEXT_HELD_OUT)

    def synonym_sentences(self, index: int) -> tuple[str, ...]:
        """The mission as `sentences` says it, but for what it is about."""
        return self._said(index, GO_TO, PUT_NEXT, SYNONYMS)

    def _said(
        self, index: int, go_to: Sequence[str], put_next: Sequence[str], words: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        called = words or {}
        things = (tuple(called.get(word, word) for word in thing) for thing in self.mission(index))
        thing, *others = (f"{colour} {kind}" for kind, colour in things)
        if not others:
            return tuple(template.format(thing=thing) for template in go_to)
        return tuple(template.format(thing=thing, other=others[0]) for template in put_next)


class Level(RoomGridLevel):  # type: ignore[misc]  # minigrid has no types
    """One room with eight things, those of the mission among them, and BabyAI's bot as the expert."""

    def __init__(self, mission: tuple[Thing, ...], max_steps: int, render_mode: str | None = None) -> None:
        self._things = mission
        self._bot: Any = None
        self._decided: tuple[int, int] | None = None
        super().__init__(num_rows=1, num_cols=1, max_steps=max_steps, render_mode=render_mode)
        self.observation_space = _space()

    def gen_mission(self) -> None:
        """Lay out the room, as `GoToLocal` and `PutNextLocal` do it given their mission."""
        self.place_agent()
        for kind, colour in self._things:
            self.add_object(0, 0, kind, colour)
        alone = len(self._things) > 1
        self.add_distractors(num_distractors=N_THINGS - len(self._things), all_unique=alone)
        self.check_objs_reachable()
        described = [ObjDesc(kind, colour) for kind, colour in self._things]
        self.instrs = PutNextInstr(*described) if alone else GoToInstr(*described)

    def gen_obs(self) -> dict[str, Any]:
        """What is seen, but for the mission."""
        seen = super().gen_obs()
        return {name: seen[name] for name in ("direction", "image")}

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self._bot = self._decided = None
        with contextlib.redirect_stdout(io.StringIO()):  # it prints each layout that it rejects
            observation, info = super().reset(**kwargs)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step; the info says `success`."""
        self._taken = self.actions(int(action))
        observation, reward, terminated, truncated, info = super().step(int(action))
        return observation, float(reward), terminated, truncated, info | {"success": terminated}

    def expert_action(self) -> int:
        """The bot's next action, or `done`, which does nothing, where the bot is at a loss.

        The bot follows an episode from step to step. Where it was not asked for a while, a new one looks around.
        """
        if self._decided is None or self._decided[0] != self.step_count:
            followed = self._decided is not None and self._decided[0] == self.step_count - 1
            if not followed:
                self._bot = BabyAIBot(self)
            try:
                action = int(self._bot.replan(self._taken if followed else None))
            except Exception:  # it raises errors of every kind in states that no bot gets into
                action, self._bot = int(self.actions.done), BabyAIBot(self)
            self._decided = self.step_count, action
        return self._decided[1]


def _space() -> spaces.Space[Any]:
    """MiniGrid's own, without the mission."""
    image = spaces.Box(0, 255, (VIEW, VIEW, 3), np.uint8)
    return spaces.Dict({"direction": spaces.Discrete(4), "image": image})


def go_to_red_ball() -> BabyAI:
    """GoToRedBall: one mission, so that words say nothing; whether the level itself is learnt."""
    return BabyAI("babyai-go-to-red-ball", ((("ball", "red"),),))


def go_to_local() -> BabyAI:
    """GoToLocal: 18 things, three of them new in tests."""
    return BabyAI("babyai-go-to-local", tuple((one,) for one in THINGS), frozenset((one,) for one in NEW_THINGS))


def put_next_local() -> BabyAI:
    """PutNextLocal: 306 pairs of things, 51 of them new in tests."""
    pairs = tuple((one, other) for one in THINGS for other in THINGS if one != other)
    rng = np.random.default_rng(0xBAB1)
    new = rng.permutation(len(pairs))[: len(pairs) // NEW_PAIR_EVERY]
    return BabyAI("babyai-put-next-local", pairs, frozenset(pairs[int(i)] for i in new))
