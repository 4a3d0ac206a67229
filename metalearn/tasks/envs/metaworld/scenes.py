"""Meta-World's arm before the furniture of ML10: simulations of different task types, stepped in lockstep.

Meta-World builds the model of each task type and starts its episodes. After that only the physics, the 18 numbers of
an observation frame and the success rule are computed. Knows no families, rewards or splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.spatial.transform import Rotation

from metalearn.data.episode import Array
from metalearn.tasks.envs.metaworld.arm import STATE, SUBSTEPS, Arms


@dataclass(frozen=True)
class TaskType:
    """The observation and the success rule of one Meta-World task type, in place of Meta-World's own code.

    Attributes:
        task: Meta-World's name.
        observed: the observed object, as `body NAME`, `geom NAME` or `site NAME`.
        radius: greatest distance from the target that counts as solved; metres (radians for a joint).
        rotation: the object with the observed rotation; empty: zeros are observed.
        offset: metres that Meta-World adds to the place of the observed object.
        measured: the joint, or the objects with a mean place, of which the distance from the target is measured; empty:
            `observed`.
        weights: weights of the three coordinates of that distance.
        target: coordinates of the target that differ from Meta-World's goal; None for those that do not.
        furniture: the body that is moved at the start of an episode.
    """

    task: str
    observed: str
    radius: float
    rotation: str = ""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    measured: tuple[str, ...] = ()
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    target: tuple[float | None, float | None, float | None] = (None, None, None)
    furniture: str = ""


_FINGERS = ("site rightEndEffector", "site leftEndEffector")

TASK_TYPES = {
    task_type.task: task_type
    for task_type in (
        TaskType("reach-v3", "body obj", 0.05, "geom objGeom", measured=_FINGERS),
        TaskType("push-v3", "body obj", 0.05, "geom objGeom"),
        TaskType("pick-place-v3", "body obj", 0.07, "geom objGeom"),
        TaskType("door-open-v3", "geom handle", 0.08, "geom handle", weights=(1, 0, 0), furniture="door"),
        TaskType("drawer-close-v3", "body drawer_link", 0.065, offset=(0, -0.16, 0.05), furniture="drawer"),
        TaskType(
            "button-press-topdown-v3", "body button", 0.024, "body button", (0, 0, 0.193),
            weights=(0, 0, 1), furniture="box",
        ),
        TaskType(
            "peg-insert-side-v3", "site pegGrasp", 0.07, "site pegGrasp",
            measured=("site pegHead",), weights=(1, 2, 2), furniture="box",
        ),
        TaskType("window-open-v3", "site handleOpenStart", 0.05, weights=(1, 0, 0), furniture="window"),
        TaskType("sweep-v3", "body obj", 0.05, "body obj"),
        TaskType(
            "basketball-v3", "body bsktball", 0.08, "body bsktball",
            weights=(1, 1, 2), target=(None, None, 0.3), furniture="basket_goal",
        ),
        TaskType("drawer-open-v3", "body drawer_link", 0.03, "body drawer_link", (0, -0.16, 0), furniture="drawer"),
        TaskType("door-close-v3", "geom handle", 0.08, "geom handle", furniture="door"),
        TaskType("shelf-place-v3", "body obj", 0.07, "geom objGeom", furniture="shelf"),
        TaskType("sweep-into-v3", "body obj", 0.05, "geom objGeom", weights=(1, 1, 0)),
        TaskType(
            "lever-pull-v3", "site leverStart", np.pi / 24, "geom objGeom",
            measured=("joint LeverAxis",), weights=(1, 0, 0), target=(-np.pi / 2, None, None), furniture="lever",
        ),
    )
}  # fmt: skip
"""The fifteen task types of ML10 by Meta-World's name."""


class Simulation:
    """MuJoCo's data of one task type, and views into it that are cheap to read at every step."""

    def __init__(self, mj_model: Any, task_type: TaskType) -> None:
        self.data = mujoco.MjData(mj_model)
        self.mocap_xyz, self.ctrl = self.data.mocap_pos[0], self.data.ctrl
        self.hand, self.right, self.left = (self.data.body(n).xpos for n in ("hand", "rightclaw", "leftclaw"))
        self.observed = self._view(task_type.observed, "xpos")
        rotation = task_type.rotation
        self.quat = self._view(rotation, "xquat") if rotation.startswith("body") else None
        self.xmat = self._view(rotation, "xmat") if rotation and self.quat is None else None
        self.measured = [
            self._view(name, "qpos" if name.startswith("joint") else "xpos") for name in task_type.measured
        ]

    def _view(self, address: str, what: str) -> Array:
        element, name = address.split()
        view: Array = getattr(getattr(self.data, element)(name), what)
        return view


@dataclass(frozen=True)
class Start:
    """The start of an episode: MuJoCo's state, the place of the furniture, and Meta-World's goal."""

    state: Float64[np.ndarray, " s"]
    furniture: Float64[np.ndarray, "3"]
    goal: Float64[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class SceneModel:
    """One task type, the same for all of its arms.

    Attributes:
        env: Meta-World's environment, which starts episodes. All arms share its model: the furniture is put in its
            place before every step.
        simulation: shared by all arms too. The state of an arm is copied in before a step and out after it, so that
            the data of a step stays in the processor's caches, which are too small for many simulations.
        before_start: MuJoCo's state one substep before Meta-World has brought the hand to its first place.
        low, high: limits of Meta-World's `rand_vec`.
        policy: Meta-World's scripted expert, who observes the goal.
        body: id of the furniture's body; 0 without furniture.
    """

    task_type: TaskType
    env: Any
    simulation: Simulation
    before_start: Float64[np.ndarray, " s"]
    low: Float64[np.ndarray, " v"]
    high: Float64[np.ndarray, " v"]
    policy: Any
    body: int

    @property
    def mj_model(self) -> Any:
        """MuJoCo's model of the task type."""
        return self.env.model

    def start(self, rand_vec: Float64[np.ndarray, " v"]) -> Start:
        """Meta-World's start of the episode `rand_vec`, with the places of the objects and the goal."""
        env = self.env
        env._last_rand_vec = rand_vec
        # The first call moves the furniture; the second computes everything else from its new place.
        for _ in range(2):
            env.reset_model()
        state = np.empty(len(self.before_start))
        mujoco.mj_getState(env.model, env.data, state, STATE)
        return Start(state, env.model.body_pos[self.body].copy(), np.array(env._target_pos, float))


@lru_cache
def load_scene_model(task: str) -> SceneModel:
    """The model of an ML10 task type (`door-open-v3`), built once per process."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    task_type, env = TASK_TYPES[task], ALL_V3_ENVIRONMENTS[task]()
    space = env._random_reset_space
    env._set_task_called = True
    env._last_rand_vec = (space.low + space.high) / 2
    mujoco.mj_resetData(env.model, env.data)
    env._reset_hand(steps=49)
    mujoco.mj_step(env.model, env.data, nstep=SUBSTEPS - 1)
    before_start = np.empty(mujoco.mj_stateSize(env.model, STATE))
    mujoco.mj_getState(env.model, env.data, before_start, STATE)

    def finish_start() -> None:
        """Replace `_reset_hand`: simulate only the last substep of the 50 control steps that Meta-World simulates."""
        mujoco.mj_setState(env.model, env.data, before_start, STATE)
        mujoco.mj_step(env.model, env.data)
        env.init_tcp = env.tcp_center

    env._reset_hand = finish_start
    body = env.model.body(task_type.furniture).id if task_type.furniture else 0
    simulation, policy = Simulation(env.model, task_type), ENV_POLICY_MAP[task]()
    return SceneModel(task_type, env, simulation, before_start, space.low.copy(), space.high.copy(), policy, body)


class SceneArms(Arms):
    """`b` arms, each before a scene of its own.

    Attributes:
        goals: Meta-World's goals, observed by its experts.
        states: MuJoCo's state of each arm.
        furniture: the place of the body that is moved at the start of an episode (the floor without furniture).
    """

    goals: Float64[np.ndarray, "b 3"]
    furniture: Float64[np.ndarray, "b 3"]

    def __init__(self, scenes: Sequence[SceneModel]) -> None:
        super().__init__(
            np.stack([scene.env.mocap_low for scene in scenes]), np.stack([scene.env.mocap_high for scene in scenes])
        )
        n, self.scenes = len(scenes), list(scenes)
        self.states = [scene.before_start.copy() for scene in scenes]
        types = [scene.task_type for scene in scenes]
        self._rank = np.unique([task_type.task for task_type in types], return_inverse=True)[1]
        self.goals, self.furniture = np.zeros((n, 3)), np.zeros((n, 3))
        self._targets, self._measured = np.zeros((n, 3)), np.zeros((n, 3))
        self._hands, self._quats, self._xmats = np.zeros((n, 3, 3)), np.zeros((n, 4)), np.zeros((n, 9))
        self._offsets = np.array([task_type.offset for task_type in types])
        self._weights = np.array([task_type.weights for task_type in types])
        self._radii = np.array([task_type.radius for task_type in types])
        self._has_xmat = np.array([scene.simulation.xmat is not None for scene in scenes])

    def reset(self, row: int, rand_vec: Float64[np.ndarray, " v"]) -> None:
        """Start over in one row. Meta-World's reset does not return if object and goal are too close."""
        scene, data = self.scenes[row], self.scenes[row].simulation.data
        start = scene.start(rand_vec)
        self.furniture[row], self.goals[row] = start.furniture, start.goal
        target = scene.task_type.target
        self._targets[row] = [g if fixed is None else fixed for fixed, g in zip(target, start.goal, strict=True)]
        self.states[row][:] = start.state
        mujoco.mj_setState(scene.mj_model, data, start.state, STATE)
        mujoco.mj_forward(scene.mj_model, data)
        self._sent_to[row] = scene.simulation.mocap_xyz
        self._read(row)
        self._write_frames(np.array([row]))
        self.previous[row] = self.frames[row]

    def step(self, rows: Int[np.ndarray, " n"], actions: Float[np.ndarray, "n 4"]) -> None:
        """Move the arms `rows`. An action in [-1, 1] displaces the hand (3 numbers) and closes the gripper (1)."""
        sent_to, grips = self._command(rows, actions)
        self.previous[rows] = self.frames[rows]
        for i in np.argsort(self._rank[rows], kind="stable").tolist():  # one type after the other
            row = int(rows[i])
            scene, state = self.scenes[row], self.states[row]
            model, simulation = scene.mj_model, scene.simulation
            if scene.body:
                model.body_pos[scene.body] = self.furniture[row]
            mujoco.mj_setState(model, simulation.data, state, STATE)
            simulation.mocap_xyz[:] = sent_to[i]
            simulation.ctrl[:] = grips[i]
            mujoco.mj_step(model, simulation.data, nstep=SUBSTEPS)
            mujoco.mj_getState(model, simulation.data, state, STATE)
            mujoco.mj_kinematics(model, simulation.data)
            self._read(row)
        self._write_frames(rows)

    def solved(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of the arms `rows` satisfy Meta-World's success rule."""
        away = (self._measured[rows] - self._targets[rows]) * self._weights[rows]
        within: Bool[np.ndarray, " n"] = np.sqrt((away**2).sum(1)) <= self._radii[rows]
        return within

    def _read(self, row: int) -> None:
        """Copy what frames and the success rule need out of the shared simulation."""
        simulation, hands = self.scenes[row].simulation, self._hands[row]
        hands[0], hands[1], hands[2] = simulation.hand, simulation.right, simulation.left
        self.frames[row, 4:7] = simulation.observed
        if simulation.xmat is not None:
            self._xmats[row] = simulation.xmat
        elif simulation.quat is not None:
            self._quats[row] = simulation.quat
        if len(simulation.measured) == 1:
            self._measured[row] = simulation.measured[0]
        elif simulation.measured:
            self._measured[row] = sum(simulation.measured) / len(simulation.measured)
        else:
            self._measured[row] = simulation.observed + self._offsets[row]

    def _write_frames(self, rows: Int[np.ndarray, " n"]) -> None:
        self._write_hands(rows, self._hands[rows])
        self.frames[rows, 4:7] += self._offsets[rows]
        self.frames[rows, 7:11] = self._quats[rows]
        rotated = rows[self._has_xmat[rows]]
        if len(rotated):
            self.frames[rotated, 7:11] = Rotation.from_matrix(self._xmats[rotated].reshape(-1, 3, 3)).as_quat()
