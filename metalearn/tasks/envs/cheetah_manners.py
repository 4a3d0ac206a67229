"""A cheetah that runs in different gaits and with different efforts: the shipped expert of `cheetah`, with manners.

Every task is to run, as whoever was watched runs. The expert's torques are a function of the state, and so is what a
manner makes of them, so that a policy without a memory can have them. Test tasks have new combinations of manners.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, Float32

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.envs.cheetah import CheetahVectorEnv, CheetahVel, expert_torques
from metalearn.tasks.envs.combinations import at_shares, draw_shares, draw_skill, sibling_of
from metalearn.tasks.family import SPLITS, Scene
from metalearn.tasks.single_row import SingleRowEnv

HORIZON, SETTLED = 100, 50  # steps of an episode, and those at its end that decide its success
RUNS = 0.5  # metres a second, on average over the last steps: less is no run
SPEED_AT, JOINT_SPEEDS, PITCH, JOINTS = 8, slice(11, 17), 1, slice(2, 8)  # of an observation
CLUMSY = 0.3  # how much an agent of no skill acts at random

RANGES: Mapping[str, tuple[float, float]] = {
    "speed": (1.0, 3.0),  # metres a second that the expert is told to run at
    "effort": (0.8, 1.0),  # of the expert's torques
    "front": (-0.2, 0.2),  # share by which the front leg's torques are larger, and the back leg's smaller
    "damping": (0.0, 0.012),  # torque against each joint's speed, in seconds: stiff joints
    "posture": (-0.15, 0.15),  # torque that bends both thighs forward at all times
}


@dataclass(frozen=True)
class Gait:
    """How a demonstrator runs; see `RANGES`. `skill` is 1 for an expert, 0 for uniformly random torques."""

    speed: float = 2.0
    effort: float = 1.0
    front: float = 0.0
    damping: float = 0.0
    posture: float = 0.0
    skill: float = 1.0


@dataclass(frozen=True)
class CheetahManners:
    """Run, as who was watched runs. An episode succeeds that runs at `RUNS` or more in its second half."""

    name: str = "cheetah-manners"
    version: int = 1

    @property
    def spec(self) -> Spec:
        """That of `CheetahVel`, in shorter episodes."""
        return replace(CheetahVel().spec, horizon=HORIZON)

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task."""
        return SPLITS

    def manner(self, index: int) -> Gait:
        """The demonstrator of task `index`. Torques at random make it fall, so there is little of them."""
        rng = np.random.default_rng([0xC4EE, index])
        shares = draw_shares(len(RANGES), index, rng)
        return Gait(**at_shares(RANGES, shares), skill=1 - CLUMSY * (1 - draw_skill(rng)))

    def skill(self, index: int) -> float:
        """How skilled the demonstrator of a task is, from 0 to 1."""
        return self.manner(index).skill

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """Any task of the same split: all of them are to run."""
        return sibling_of(index, 1, self.splits, rng)

    def bayes_success(self, n_trials: int) -> float:
        """1: to run is known without a demonstration."""
        return 1.0

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "CheetahMannersVectorEnv":
        """The tasks `indices`, one row each; both scenes are alike, but for the noise at the start."""
        return CheetahMannersVectorEnv(self, indices)

    def goal_of(self, episode: Episode) -> int | None:
        """There is one goal."""
        return 0

    def statistics(self, episodes: Sequence[Episode], index: int) -> Float[np.ndarray, " 9"]:
        """How an agent runs in some episodes, once it is running (the second half of an episode).

        1. and 2. its speed, and how much that varies from step to step; 3. and 4. the pitch of its body, and how much
        that varies; 5. and 6. the mean angle of the back and of the front thigh; 7. and 8. how much those vary; 9. the
        root mean square speed of its joints.
        """
        seen = np.concatenate([episode.observations[len(episode) // 2 :] for episode in episodes]).astype(np.float64)
        speed, pitch, joints = seen[:, SPEED_AT], seen[:, PITCH], seen[:, JOINTS]
        thighs = joints[:, [0, 3]]
        return np.array([
            speed.mean(), speed.std(), pitch.mean(), pitch.std(), *thighs.mean(0), *thighs.std(0),
            np.sqrt(np.square(seen[:, JOINT_SPEEDS]).mean()),
        ])  # fmt: skip


class CheetahMannersVectorEnv(CheetahVectorEnv):
    """Cheetahs in lockstep, with the gaits `[b 6]` of their demonstrators in the order of `Gait`."""

    def __init__(self, family: CheetahManners, indices: Sequence[int]) -> None:
        gaits = np.array([astuple(family.manner(int(index))) for index in indices]).reshape(len(indices), -1)
        super().__init__(family.spec, gaits[:, 0].copy())
        self._gaits = gaits
        self._travelled = np.zeros(len(indices))

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every row; a row without a seed goes on with its generator."""
        self._travelled[:] = 0.0
        return super().reset(seed=seed, options=options)

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row until the episode is over; the reward is the distance of a step, in metres."""
        before, live = self.cheetahs.states[:, 0].copy(), self._n_steps < self.task_spec.horizon
        observations, _, terminated, over, _ = super().step(actions)
        moved = (self.cheetahs.states[:, 0] - before) * live
        if live and self._n_steps > self.task_spec.horizon - SETTLED:
            self._travelled += moved
        settled_s = SETTLED * self.cheetahs.model.step_s
        success = over & (self._travelled / settled_s >= RUNS)
        return observations, moved.astype(np.float32), terminated, over, {"success": success}

    def expert_actions(self) -> Float32[np.ndarray, "b 6"]:
        """The gait's torques, and uniformly random ones, mixed by skill."""
        skill = self._gaits[:, -1:]
        seen = self._observations()
        wanted = gait_torques(self._gaits, seen)
        random = np.stack([rng.uniform(-1, 1, 6) for rng in self._rngs])
        return np.clip(skill * wanted + (1 - skill) * random, -1, 1).astype(np.float32)


def gait_torques(
    gaits: Float[np.ndarray, "b 6"], observations: Float32[np.ndarray, "b 17"]
) -> Float[np.ndarray, "b 6"]:
    """The torques of demonstrators in these states, without what lack of skill adds.

    effort (1 -/+ front) expert(state, speed) - damping joint speeds + posture at the thighs, within -1 .. 1; the back
    leg's joints come first.
    """
    speed, effort, front, damping, posture, _ = gaits.T[:, :, None]
    legs = np.array([-1.0] * 3 + [1.0] * 3)
    thighs = np.array([1.0, 0.0, 0.0] * 2)
    torques = effort * (1 + front * legs) * expert_torques(observations, speed[:, 0])
    bent: Float[np.ndarray, "b 6"] = np.clip(
        torques - damping * observations[:, JOINT_SPEEDS] + posture * thighs, -1.0, 1.0
    )
    return bent
