"""Meta-World's arm before any of ML10's furniture: simulations of different task types, stepped in lockstep.

Meta-World builds each type's model and starts its episodes; from there on only the physics, the 18 numbers of
its observation and its success rule are computed. Knows no families, rewards or splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

from metalearn.data.episode import Array
from metalearn.tasks.envs.metaworld.arm import FRAME, HAND_HIGH, HAND_LOW, METRES_PER_ACTION, STATE, SUBSTEPS

Numbers = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Kind:
    """What Meta-World observes of a task type and when it calls it solved: a table in the place of its rewards.

    Attributes:
        task: Meta-World's name.
        seen: what the observation follows, as `body NAME`, `geom NAME` or `site NAME`.
        offset: metres that Meta-World adds to its place.
        turned: whose rotation is observed; empty: zeros.
        judged: whose places (their mean) or joint decide; empty: what is seen.
        weights: of the three coordinates of the distance from the target.
        aim: coordinates of the target that are not where Meta-World's goal is.
        radius: solved within it; metres (radians for a joint).
        furniture: the body of the model that an episode puts in its place.
    """

    task: str
    seen: str
    radius: float
    turned: str = ""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    judged: tuple[str, ...] = ()
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    aim: Numbers = (None, None, None)
    furniture: str = ""


_FINGERS = ("site rightEndEffector", "site leftEndEffector")

KINDS = {
    kind.task: kind
    for kind in (
        Kind("reach-v3", "body obj", 0.05, "geom objGeom", judged=_FINGERS),
        Kind("push-v3", "body obj", 0.05, "geom objGeom"),
        Kind("pick-place-v3", "body obj", 0.07, "geom objGeom"),
        Kind("door-open-v3", "geom handle", 0.08, "geom handle", weights=(1, 0, 0), furniture="door"),
        Kind("drawer-close-v3", "body drawer_link", 0.065, offset=(0, -0.16, 0.05), furniture="drawer"),
        Kind(
            "button-press-topdown-v3", "body button", 0.024, "body button", (0, 0, 0.193),
            weights=(0, 0, 1), furniture="box",
        ),
        Kind(
            "peg-insert-side-v3", "site pegGrasp", 0.07, "site pegGrasp",
            judged=("site pegHead",), weights=(1, 2, 2), furniture="box",
        ),
        Kind("window-open-v3", "site handleOpenStart", 0.05, weights=(1, 0, 0), furniture="window"),
        Kind("sweep-v3", "body obj", 0.05, "body obj"),
        Kind(
            "basketball-v3", "body bsktball", 0.08, "body bsktball",
            weights=(1, 1, 2), aim=(None, None, 0.3), furniture="basket_goal",
        ),
        Kind("drawer-open-v3", "body drawer_link", 0.03, "body drawer_link", (0, -0.16, 0), furniture="drawer"),
        Kind("door-close-v3", "geom handle", 0.08, "geom handle", furniture="door"),
        Kind("shelf-place-v3", "body obj", 0.07, "geom objGeom", furniture="shelf"),
        Kind("sweep-into-v3", "body obj", 0.05, "geom objGeom", weights=(1, 1, 0)),
        Kind(
            "lever-pull-v3", "site leverStart", np.pi / 24, "geom objGeom",
            judged=("joint LeverAxis",), weights=(1, 0, 0), aim=(-np.pi / 2, None, None), furniture="lever",
        ),
    )
}  # fmt: skip
"""By Meta-World's name: the fifteen task types of ML10."""


class Sim:
    """The simulation of a type: MuJoCo's data, and views into it that are cheap to read at every step."""

    def __init__(self, model: Any, kind: Kind) -> None:
        self.data = mujoco.MjData(model)
        self.mocap_xyz, self.ctrl = self.data.mocap_pos[0], self.data.ctrl
        self.hand, self.right, self.left = (self.data.body(n).xpos for n in ("hand", "rightclaw", "leftclaw"))
        self.seen = self._view(kind.seen, "xpos")
        turned = kind.turned
        self.quat = self._view(turned, "xquat") if turned.startswith("body") else None
        self.xmat = self._view(turned, "xmat") if turned and self.quat is None else None
        self.judged = [self._view(name, "qpos" if name.startswith("joint") else "xpos") for name in kind.judged]

    def _view(self, address: str, what: str) -> Array:
        element, name = address.split()
        view: Array = getattr(getattr(self.data, element)(name), what)
        return view


@dataclass(frozen=True)
class Start:
    """How an episode begins: MuJoCo's state, where the furniture stands, and Meta-World's goal."""

    state: Float64[np.ndarray, " s"]
    furniture: Float64[np.ndarray, "3"]
    goal: Float64[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class Scene:
    """What arms before one type of furniture share.

    Attributes:
        env: Meta-World's environment, which starts episodes. Its model is everybody's: the furniture is put in
            its place before every step.
        sim: everybody's too: an arm is a state that is put in before a step and taken out after it. So what a
            step works on stays in the processor's caches, which many simulations side by side do not fit in.
        settled: MuJoCo's state just before Meta-World has brought the hand to its first place.
        low, high: what Meta-World draws `rand_vec` from.
        policy: Meta-World's scripted expert, who wants to see the goal.
    """

    kind: Kind
    env: Any
    sim: Sim
    settled: Float64[np.ndarray, " s"]
    low: Float64[np.ndarray, " v"]
    high: Float64[np.ndarray, " v"]
    policy: Any
    body: int

    @property
    def model(self) -> Any:
        """MuJoCo's model of the type."""
        return self.env.model

    def start(self, rand_vec: Float64[np.ndarray, " v"]) -> Start:
        """How Meta-World starts the episode `rand_vec`: places of objects and goal, as it accepts them."""
        env = self.env
        env._last_rand_vec = rand_vec
        # The first time the furniture is moved; the second time everything is computed from where it stands.
        for _ in range(2):
            env.reset_model()
        state = np.empty(len(self.settled))
        mujoco.mj_getState(env.model, env.data, state, STATE)
        return Start(state, env.model.body_pos[self.body].copy(), np.array(env._target_pos, float))


@lru_cache
def load_scene(task: str) -> Scene:
    """The scene of an ML10 task type (`door-open-v3`), built once per process."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    kind, env = KINDS[task], ALL_V3_ENVIRONMENTS[task]()
    space = env._random_reset_space
    env._set_task_called = True
    env._last_rand_vec = (space.low + space.high) / 2
    mujoco.mj_resetData(env.model, env.data)
    env._reset_hand(steps=49)
    mujoco.mj_step(env.model, env.data, nstep=SUBSTEPS - 1)
    settled = np.empty(mujoco.mj_stateSize(env.model, STATE))
    mujoco.mj_getState(env.model, env.data, settled, STATE)

    def settle() -> None:
        """In the place of `_reset_hand`, which simulates 50 control steps at every reset: the last bit of them."""
        mujoco.mj_setState(env.model, env.data, settled, STATE)
        mujoco.mj_step(env.model, env.data)
        env.init_tcp = env.tcp_center

    env._reset_hand = settle
    body = env.model.body(kind.furniture).id if kind.furniture else 0
    return Scene(
        kind, env, Sim(env.model, kind), settled, space.low.copy(), space.high.copy(), ENV_POLICY_MAP[task](), body
    )


class Arms:
    """`b` arms, each before its scene.

    Attributes:
        frames: the present frame of each arm.
        previous: the frame before, or the present one after a reset.
        goals: Meta-World's goals, which its experts see.
        states: MuJoCo's, of each arm.
        furniture: where the body stands that an episode puts in its place (the floor, where there is none).
    """

    frames: Float64[np.ndarray, "b 18"]
    previous: Float64[np.ndarray, "b 18"]
    goals: Float64[np.ndarray, "b 3"]
    furniture: Float64[np.ndarray, "b 3"]

    def __init__(self, scenes: Sequence[Scene]) -> None:
        n, self.scenes = len(scenes), list(scenes)
        self.states = [scene.settled.copy() for scene in scenes]
        self._rank = np.unique([scene.kind.task for scene in scenes], return_inverse=True)[1]
        self.frames, self.previous = np.zeros((n, FRAME)), np.zeros((n, FRAME))
        self.goals = np.zeros((n, 3))
        self.furniture, self._aims, self._points = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3))
        self._claws, self._quats, self._xmats = np.zeros((n, 3, 3)), np.zeros((n, 4)), np.zeros((n, 9))
        self._sent_to = np.zeros((n, 3))
        self._low = np.stack([scene.env.mocap_low for scene in scenes])
        self._high = np.stack([scene.env.mocap_high for scene in scenes])
        self._offsets = np.array([scene.kind.offset for scene in scenes])
        self._weights = np.array([scene.kind.weights for scene in scenes])
        self._radii = np.array([scene.kind.radius for scene in scenes])
        self._by_xmat = np.array([scene.sim.xmat is not None for scene in scenes])

    def reset(self, row: int, rand_vec: Float64[np.ndarray, " v"]) -> None:
        """Start over in scene `row`. Meta-World's reset never returns where object and goal are too close."""
        scene, data = self.scenes[row], self.scenes[row].sim.data
        start = scene.start(rand_vec)
        self.furniture[row], self.goals[row] = start.furniture, start.goal
        aim = scene.kind.aim
        self._aims[row] = [g if fixed is None else fixed for fixed, g in zip(aim, start.goal, strict=True)]
        self.states[row][:] = start.state
        mujoco.mj_setState(scene.model, data, start.state, STATE)
        mujoco.mj_forward(scene.model, data)
        self._sent_to[row] = scene.sim.mocap_xyz
        self._look(row)
        self._make_frames(np.array([row]))
        self.previous[row] = self.frames[row]

    def step(self, rows: Int[np.ndarray, " n"], actions: Float[np.ndarray, "n 4"]) -> None:
        """Move the arms `rows`: change of the hand's place and closing of the gripper, in [-1, 1]."""
        delta = np.clip(actions[:, :3], -1, 1) * METRES_PER_ACTION
        sent_to = np.clip(self._sent_to[rows] + delta, self._low[rows], self._high[rows])
        self._sent_to[rows], self.previous[rows] = sent_to, self.frames[rows]
        grips = np.stack([actions[:, 3], -actions[:, 3]], 1)
        for i in np.argsort(self._rank[rows], kind="stable").tolist():  # one type after the other
            row = int(rows[i])
            scene, state = self.scenes[row], self.states[row]
            model, sim = scene.model, scene.sim
            if scene.body:
                model.body_pos[scene.body] = self.furniture[row]
            mujoco.mj_setState(model, sim.data, state, STATE)
            sim.mocap_xyz[:] = sent_to[i]
            sim.ctrl[:] = grips[i]
            mujoco.mj_step(model, sim.data, nstep=SUBSTEPS)
            mujoco.mj_getState(model, sim.data, state, STATE)
            mujoco.mj_kinematics(model, sim.data)
            self._look(row)
        self._make_frames(rows)

    def solved(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of the arms `rows` are where Meta-World says success."""
        away = (self._points[rows] - self._aims[rows]) * self._weights[rows]
        within: Bool[np.ndarray, " n"] = np.sqrt((away**2).sum(1)) <= self._radii[rows]
        return within

    def _look(self, row: int) -> None:
        sim, claws = self.scenes[row].sim, self._claws[row]
        claws[0], claws[1], claws[2] = sim.hand, sim.right, sim.left
        self.frames[row, 4:7] = sim.seen
        if sim.xmat is not None:
            self._xmats[row] = sim.xmat
        elif sim.quat is not None:
            self._quats[row] = sim.quat
        if len(sim.judged) == 1:
            self._points[row] = sim.judged[0]
        elif sim.judged:
            self._points[row] = sum(sim.judged) / len(sim.judged)
        else:
            self._points[row] = sim.seen + self._offsets[row]

    def _make_frames(self, rows: Int[np.ndarray, " n"]) -> None:
        hand, right, left = self._claws[rows].swapaxes(0, 1)
        opening = np.sqrt(((right - left) ** 2).sum(1)) / 0.1
        self.frames[rows, :3] = np.clip(hand, HAND_LOW, HAND_HIGH)
        self.frames[rows, 3] = np.clip(opening, 0.0, 1.0)
        self.frames[rows, 4:7] += self._offsets[rows]
        self.frames[rows, 7:11] = self._quats[rows]
        turned = rows[self._by_xmat[rows]]
        if len(turned):
            self.frames[turned, 7:11] = Rotation.from_matrix(self._xmats[turned].reshape(-1, 3, 3)).as_quat()
