"""Meta-World's arm, table and puck on MuJoCo: many simulations of one model, stepped in lockstep.

Meta-World builds the model and brings it to rest once per process. After that only the physics and the 18 numbers of
an observation frame are computed, to the same bits. Knows no goals, rewards or episodes.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.spatial.transform import Rotation

from metalearn.tasks.envs.pool import SimulationPool

FRAME_SIZE = 18
"""Numbers in one frame: hand (3), gripper opening, puck position (3) and rotation (4), seven unused."""

HAND_LOW = np.array([-0.525, 0.348, -0.0525])
HAND_HIGH = np.array([0.525, 1.025, 0.7])
RATE_HZ = 80.0

SUBSTEPS = 5
METRES_PER_ACTION = 1.0 / 100
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_BODIES = ("hand", "rightclaw", "leftclaw", "obj")


class Simulation:
    """MuJoCo's data of one simulation, and views into it that are cheap to read at every step."""

    def __init__(self, mj_model: Any) -> None:
        self.data = mujoco.MjData(mj_model)
        self.bodies_xyz = self.data.xpos
        self.geoms_xmat = self.data.geom_xmat
        self.mocap_xyz = self.data.mocap_pos[0]
        self.ctrl = self.data.ctrl


@dataclass(frozen=True, eq=False)
class TaskModel:
    """One Meta-World task with a puck, the same for all of its simulations.

    Attributes:
        pool: simulations for reuse.
        initial: MuJoCo's state at the start of an episode, apart from the place of the puck.
        puck_z: height of the puck at the start.
        hand_low, hand_high: limits of the places to which the hand can be sent.
        policy: Meta-World's scripted expert.
    """

    mj_model: Any
    pool: SimulationPool[Simulation]
    initial: Float64[np.ndarray, " s"]
    puck_z: float
    hand_low: Float64[np.ndarray, "3"]
    hand_high: Float64[np.ndarray, "3"]
    policy: Any
    body_ids: Int[np.ndarray, "4"]
    puck_geom: int
    goal_site: int


@lru_cache
def load_task_model(task: str) -> TaskModel:
    """The model of `task` (`push-v3`, `pick-place-v3`), built once per process."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    env = ALL_V3_ENVIRONMENTS[task]()
    env._set_task_called = True
    env._last_rand_vec = np.array([0.0, 0.6, 0.02, 0.0, 0.85, 0.1])
    env.reset()
    model = env.model
    initial = np.empty(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, env.data, initial, STATE)
    return TaskModel(
        mj_model=model,
        pool=SimulationPool(lambda: Simulation(model)),
        initial=initial,
        puck_z=float(env.obj_init_pos[2]),
        hand_low=env.mocap_low,
        hand_high=env.mocap_high,
        policy=ENV_POLICY_MAP[task](),
        body_ids=np.array([model.body(name).id for name in _BODIES]),
        puck_geom=model.geom("objGeom").id,
        goal_site=model.site("goal").id,
    )


class Arms:
    """`b` arms in lockstep, with any objects before them.

    Attributes:
        frames: the current observation frame of each arm.
        previous: the frame before, or the current one after a reset.
    """

    frames: Float64[np.ndarray, "b 18"]
    previous: Float64[np.ndarray, "b 18"]

    def __init__(self, hand_low: Float64[np.ndarray, "b 3"], hand_high: Float64[np.ndarray, "b 3"]) -> None:
        n = len(hand_low)
        self.frames, self.previous = np.zeros((n, FRAME_SIZE)), np.zeros((n, FRAME_SIZE))
        self._hand_low, self._hand_high = hand_low, hand_high
        self._sent_to = np.zeros((n, 3))

    def step(self, rows: Int[np.ndarray, " n"], actions: Float[np.ndarray, "n 4"]) -> None:
        """Move the arms `rows`. An action in [-1, 1] displaces the hand (3 numbers) and closes the gripper (1)."""
        raise NotImplementedError

    def _command(
        self, rows: Int[np.ndarray, " n"], actions: Float[np.ndarray, "n 4"]
    ) -> tuple[Float64[np.ndarray, "n 3"], Float[np.ndarray, "n 2"]]:
        """Where the actions send the hands, and the controls of both fingers."""
        delta = np.clip(actions[:, :3], -1, 1) * METRES_PER_ACTION
        self._sent_to[rows] = np.clip(self._sent_to[rows] + delta, self._hand_low[rows], self._hand_high[rows])
        return self._sent_to[rows], np.stack([actions[:, 3], -actions[:, 3]], 1)

    def _write_hands(self, rows: Int[np.ndarray, " n"], bodies: Float64[np.ndarray, "n m 3"]) -> None:
        """Write the hands into the frames, from the places of hand, right and left finger in `bodies`."""
        hand, right, left = bodies[:, 0], bodies[:, 1], bodies[:, 2]
        opening = np.sqrt(((right - left) ** 2).sum(1)) / 0.1
        self.frames[rows, :3] = np.clip(hand, HAND_LOW, HAND_HIGH)
        self.frames[rows, 3] = np.clip(opening, 0.0, 1.0)


class PuckArms(Arms):
    """Arms at tables with a puck, each with a simulation from the pool of its model.

    An action lasts `repeats` of Meta-World's control steps, each of which displaces the hand again.
    """

    def __init__(self, model: TaskModel, n: int, repeats: int = 1) -> None:
        super().__init__(np.tile(model.hand_low, (n, 1)), np.tile(model.hand_high, (n, 1)))
        self.model = model
        self._repeats = repeats
        self.simulations = model.pool.acquire(n)
        self._bodies = np.zeros((n, len(_BODIES), 3))
        self._xmat = np.zeros((n, 9))

    def reset(self, row: int, puck_xy: Float64[np.ndarray, "2"]) -> None:
        """Start over in one row with the puck at `puck_xy`."""
        simulation, model = self.simulations[row], self.model.mj_model
        mujoco.mj_setState(model, simulation.data, self.model.initial, STATE)
        simulation.data.qpos[9:12] = *puck_xy, self.model.puck_z
        simulation.data.qvel[9:15] = 0
        mujoco.mj_forward(model, simulation.data)
        self._sent_to[row] = simulation.mocap_xyz
        self._bodies[row] = simulation.bodies_xyz[self.model.body_ids]
        self._xmat[row] = simulation.geoms_xmat[self.model.puck_geom]
        self._write_frames(np.array([row]))
        self.previous[row] = self.frames[row]

    def step(self, rows: Int[np.ndarray, " n"], actions: Float[np.ndarray, "n 4"]) -> None:
        """Move the arms `rows`. An action in [-1, 1] displaces the hand (3 numbers) and closes the gripper (1)."""
        for _ in range(self._repeats):
            self._step_once(rows, actions)

    def _step_once(self, rows: Int[np.ndarray, " n"], actions: Float[np.ndarray, "n 4"]) -> None:
        model, bodies, ids = self.model.mj_model, self._bodies, self.model.body_ids
        xmat, geom = self._xmat, self.model.puck_geom
        for row, xyz, grip in zip(rows, *self._command(rows, actions), strict=True):
            simulation = self.simulations[row]
            simulation.mocap_xyz[:] = xyz
            simulation.ctrl[:] = grip
            mujoco.mj_step(model, simulation.data, nstep=SUBSTEPS)
            mujoco.mj_kinematics(model, simulation.data)
            bodies[row] = simulation.bodies_xyz[ids]
            xmat[row] = simulation.geoms_xmat[geom]
        self.previous[rows] = self.frames[rows]
        self._write_frames(rows)

    def _write_frames(self, rows: Int[np.ndarray, " n"]) -> None:
        bodies = self._bodies[rows]
        self._write_hands(rows, bodies)
        self.frames[rows, 4:7] = bodies[:, 3]
        self.frames[rows, 7:11] = Rotation.from_matrix(self._xmat[rows].reshape(-1, 3, 3)).as_quat()

    def close(self) -> None:
        """Release the simulations; the arms cannot be used any more."""
        self.model.pool.release(self.simulations)
        self.simulations = []
