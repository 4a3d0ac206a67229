"""Meta-World's arm, table and puck on MuJoCo: many simulations of one model, stepped in lockstep.

Meta-World builds the model and settles it, once per process; from there on only the physics and the 18
numbers of its observation are computed, to the same bits. Knows no goals, rewards or episodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

FRAME = 18
"""Numbers in one frame: hand (3), gripper opening, puck position (3) and rotation (4), seven unused."""

HAND_LOW = np.array([-0.525, 0.348, -0.0525])
HAND_HIGH = np.array([0.525, 1.025, 0.7])
RATE_HZ = 80.0

SUBSTEPS = 5
METRES_PER_ACTION = 1.0 / 100
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_BODIES = ("hand", "rightclaw", "leftclaw", "obj")


class Sim:
    """One simulation: MuJoCo's data, and views into it that are cheap to read at every step."""

    def __init__(self, model: Any) -> None:
        self.data = mujoco.MjData(model)
        self.bodies_xyz = self.data.xpos
        self.geoms_xmat = self.data.geom_xmat
        self.mocap_xyz = self.data.mocap_pos[0]
        self.ctrl = self.data.ctrl


@dataclass(frozen=True, eq=False)
class Table:
    """What simulations of one Meta-World task share.

    Attributes:
        settled: the state in which Meta-World starts an episode, but for the place of the puck.
        puck_z: height at which Meta-World puts the puck.
        reach_low, reach_high: where the arm can be sent.
        policy: Meta-World's scripted expert.
    """

    model: Any
    settled: Float64[np.ndarray, " s"]
    puck_z: float
    reach_low: Float64[np.ndarray, "3"]
    reach_high: Float64[np.ndarray, "3"]
    policy: Any
    body_ids: Int[np.ndarray, "4"]
    puck_geom: int
    goal_site: int
    _free: list[Sim] = field(default_factory=list)

    def borrow(self, n: int) -> list[Sim]:
        """`n` simulations, given back ones first: making one costs as much as tens of steps."""
        reused = [self._free.pop() for _ in range(min(n, len(self._free)))]
        return reused + [Sim(self.model) for _ in range(n - len(reused))]

    def give_back(self, sims: Sequence[Sim]) -> None:
        """Keep `sims` for whoever borrows next."""
        self._free.extend(sims)


@lru_cache
def load_table(task: str) -> Table:
    """The table of `task` (`push-v3`, `pick-place-v3`), built once per process."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    env = ALL_V3_ENVIRONMENTS[task]()
    env._set_task_called = True
    env._last_rand_vec = np.array([0.0, 0.6, 0.02, 0.0, 0.85, 0.1])
    env.reset()
    model = env.model
    settled = np.empty(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, env.data, settled, STATE)
    return Table(
        model=model,
        settled=settled,
        puck_z=float(env.obj_init_pos[2]),
        reach_low=env.mocap_low,
        reach_high=env.mocap_high,
        policy=ENV_POLICY_MAP[task](),
        body_ids=np.array([model.body(name).id for name in _BODIES]),
        puck_geom=model.geom("objGeom").id,
        goal_site=model.site("goal").id,
    )


class Arms:
    """`b` arms at tables of their own. `close` gives the simulations back.

    Attributes:
        frames: the present frame of each arm, `[b, 18]`.
        previous: the frame before, or the present one after a reset.
    """

    frames: Float64[np.ndarray, "b 18"]
    previous: Float64[np.ndarray, "b 18"]

    def __init__(self, table: Table, n: int) -> None:
        self.table = table
        self.sims = table.borrow(n)
        self.frames = np.zeros((n, FRAME))
        self.previous = np.zeros((n, FRAME))
        self._bodies = np.zeros((n, len(_BODIES), 3))
        self._xmat = np.zeros((n, 9))
        self._sent_to = np.zeros((n, 3))

    def reset(self, row: int, puck_xy: Float64[np.ndarray, "2"]) -> None:
        """Start over at table `row` with the puck at `puck_xy`."""
        sim, model = self.sims[row], self.table.model
        mujoco.mj_setState(model, sim.data, self.table.settled, STATE)
        sim.data.qpos[9:12] = *puck_xy, self.table.puck_z
        sim.data.qvel[9:15] = 0
        mujoco.mj_forward(model, sim.data)
        self._sent_to[row] = sim.mocap_xyz
        self._bodies[row] = sim.bodies_xyz[self.table.body_ids]
        self._xmat[row] = sim.geoms_xmat[self.table.puck_geom]
        self._make_frames(np.array([row]))
        self.previous[row] = self.frames[row]

    def step(self, rows: Int[np.ndarray, " n"], actions: Float[np.ndarray, "n 4"]) -> None:
        """Move the arms `rows`: change of the hand's place and closing of the gripper, in [-1, 1]."""
        model, bodies, ids = self.table.model, self._bodies, self.table.body_ids
        xmat, geom = self._xmat, self.table.puck_geom
        delta = np.clip(actions[:, :3], -1, 1) * METRES_PER_ACTION
        sent_to = np.clip(self._sent_to[rows] + delta, self.table.reach_low, self.table.reach_high)
        self._sent_to[rows] = sent_to
        grips = np.stack([actions[:, 3], -actions[:, 3]], 1)
        for row, xyz, grip in zip(rows, sent_to, grips, strict=True):
            sim = self.sims[row]
            sim.mocap_xyz[:] = xyz
            sim.ctrl[:] = grip
            mujoco.mj_step(model, sim.data, nstep=SUBSTEPS)
            mujoco.mj_kinematics(model, sim.data)
            bodies[row] = sim.bodies_xyz[ids]
            xmat[row] = sim.geoms_xmat[geom]
        self.previous[rows] = self.frames[rows]
        self._make_frames(rows)

    def _make_frames(self, rows: Int[np.ndarray, " n"]) -> None:
        hand, right, left, puck = self._bodies[rows].swapaxes(0, 1)
        opening = np.sqrt(((right - left) ** 2).sum(1)) / 0.1
        self.frames[rows, :3] = np.clip(hand, HAND_LOW, HAND_HIGH)
        self.frames[rows, 3] = np.clip(opening, 0.0, 1.0)
        self.frames[rows, 4:7] = puck
        self.frames[rows, 7:11] = Rotation.from_matrix(self._xmat[rows].reshape(-1, 3, 3)).as_quat()

    def close(self) -> None:
        """Give the simulations back; the arms cannot be used any more."""
        self.table.give_back(self.sims)
        self.sims = []
