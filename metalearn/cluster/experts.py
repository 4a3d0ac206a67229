"""Experts of families that have no scripted one, trained by RLlib's PPO on the new API stack:

    python -m metalearn.cluster.experts cheetah-vel --out runs/cheetah-expert

The expert sees what is hidden from the policy. What is exported is a plain network that numpy can run.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from gymnasium.vector.utils import batch_space
from jaxtyping import Float32
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from metalearn.baselines.ray_start import start_ray
from metalearn.cluster.env_runner import RunningMoments, VectorEnvRunner
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_json
from metalearn.tasks.envs.cheetah import HORIZON, TOP_SPEED, CheetahVectorEnv, CheetahVel
from metalearn.tasks.expert import Expert


class GoalCheetahs(CheetahVectorEnv):
    """Cheetahs whose observation ends with the target speed, drawn anew for every episode of `length` steps."""

    def __init__(self, n: int, seed: int, length: int = HORIZON) -> None:
        super().__init__(CheetahVel().spec, np.zeros(n))
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (18,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, n)
        self._rng, self._length = np.random.default_rng(seed), length

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every row, with targets from each of b equal parts of the range."""
        n = self.num_envs
        self.targets = self._rng.permutation(TOP_SPEED * (np.arange(n) + self._rng.uniform(size=n)) / n)
        return super().reset(seed=self._rng.integers(2**31, size=n).tolist() if seed is None else seed)

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row, until the episode is over."""
        observations, rewards, terminated, truncated, infos = super().step(actions)
        return observations, rewards, terminated, truncated | (self._n_steps >= self._length), infos

    def _observations(self) -> Float32[np.ndarray, "b 18"]:
        return np.hstack((super()._observations(), self.targets[:, None])).astype(np.float32)


EXPERT_TASKS: Mapping[str, Callable[..., GoalCheetahs]] = {"cheetah-vel": GoalCheetahs}
"""Name of an expert -> environments in lockstep, made from their number, a seed and the length of an
episode, that show what is hidden."""


@dataclass(frozen=True)
class Recipe:
    """The settings of an expert's training (PPO, Schulman et al. 2017).

    The learning rate falls linearly to a tenth over `steps`, the weight of the entropy to nothing. `noise` is
    the standard deviation that actions are given anew (at first it is 1), without which a training that goes on
    explores nothing.
    Episodes that are cut short (the critic knows that they would go on) show more of how to start.
    """

    steps: int = 14_000_000
    n_envs: int = 64
    episode_steps: int = HORIZON
    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 3e-4
    gamma: float = 0.98
    lambda_: float = 0.95
    clip: float = 0.2
    n_epochs: int = 8
    minibatch: int = 640
    reward_scale: float = 0.1
    grad_clip: float = 0.5
    entropy: float = 0.0
    noise: float | None = None


CHECK_TASKS = 128
CHECK_ROUNDS = 20
"""Rounds (an episode of every environment, then gradient steps) between looks at the actor without noise."""


def train_expert(
    task: str, out: Path, *, recipe: Recipe = Recipe(), seed: int = 0, tell: Callable[[str], None] = print
) -> Expert:
    """Train the expert of `task`, or go on from the checkpoint in `out`, with another recipe if need be.

    The best actor so far, judged without noise, is at all times `out / "TASK.safetensors"`, with provenance.

    Raises:
        InvalidConfig: an unknown task.
    """
    if task not in EXPERT_TASKS:
        raise InvalidConfig(f"expert: expected one of {sorted(EXPERT_TASKS)}, got {task!r}")
    out.mkdir(parents=True, exist_ok=True)
    started_ray = not ray.is_initialized()
    if started_ray:
        start_ray(include_dashboard=False, num_cpus=1, log_to_driver=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _Run(task, out, recipe, seed, tell).run()
    finally:
        torch.set_num_threads(threads)
        if started_ray:
            ray.shutdown()


class _Run:
    """One call of `train_expert`."""

    def __init__(self, task: str, out: Path, recipe: Recipe, seed: int, tell: Callable[[str], None]) -> None:
        self.task, self.recipe, self.seed, self.tell = task, recipe, seed, tell
        self.checkpoint = out.absolute() / "checkpoint"
        self.weights, self.progress = out / f"{task}.safetensors", out / "progress.json"
        self.best, self.steps, self.wall_s = -np.inf, 0, 0.0
        self.stages: list[dict[str, Any]] = []
        self.algorithm = build(task, recipe, seed)

    def run(self) -> Expert:
        if self.progress.exists():
            self.algorithm.restore_from_path(str(self.checkpoint))
            saved = read_json(self.progress)
            self.best, self.steps, self.wall_s = saved["best"], saved["steps"], saved["wall_s"]
            self.stages = saved["stages"]
        if not self.stages or self.stages[-1]["recipe"] != _plain(self.recipe):
            self.stages.append({"from_step": self.steps, "recipe": _plain(self.recipe)})
            if self.recipe.noise is not None:
                set_noise(self.algorithm, self.recipe.noise)
        started = time.monotonic() - self.wall_s
        rounds = 0
        while self.steps < self.recipe.steps:
            result = self.algorithm.train()
            self.steps += self.recipe.n_envs * self.recipe.episode_steps
            self.wall_s = time.monotonic() - started
            rounds += 1
            if rounds % CHECK_ROUNDS == 0 or self.steps >= self.recipe.steps:
                self._check(result["env_runners"]["unscaled_return"])
        self.algorithm.stop()
        return Expert.load(self.weights)

    def _check(self, noisy_return: float) -> None:
        actor = actor_of(self.algorithm)
        mean_return = float(returns_of(actor, self.task, CHECK_TASKS, seed=self.seed + 1).mean())
        if mean_return > self.best:
            self.best = mean_return
            actor.save(self.weights, self._provenance())
        self.algorithm.save_to_path(str(self.checkpoint))
        progress = {"best": self.best, "steps": self.steps, "wall_s": self.wall_s, "stages": self.stages}
        self.progress.write_text(json.dumps(progress))
        self.tell(
            f"{self.steps} steps, {self.wall_s:.0f} s: return {noisy_return:.1f}, "
            f"without noise {mean_return:.2f}, best {self.best:.2f}; noise {noise_of(self.algorithm):.3f}"
        )

    def _provenance(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "algorithm": "PPO (RLlib, new API stack)",
            "stages": self.stages,
            "seed": self.seed,
            "env_steps": self.steps,
            "wall_s": round(self.wall_s),
            "mean_return": round(self.best, 2),
            "mean_return_of": f"{CHECK_TASKS} episodes without noise, targets stratified",
            "versions": {name: version(name) for name in ("ray", "torch", "gymnasium", "mujoco", "numpy")},
            "python": platform.python_version(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def set_noise(algorithm: Any, noise: float) -> None:
    """Let actions have this standard deviation from now on."""
    learner = algorithm.learner_group._learner.module["default_policy"].unwrapped()
    for module in (learner, algorithm.env_runner.module):
        module.pi.log_std.data.fill_(np.log(noise))


def noise_of(algorithm: Any) -> float:
    """Mean standard deviation of the actions."""
    return float(algorithm.env_runner.module.pi.log_std.detach().exp().mean())


def _plain(recipe: Recipe) -> dict[str, Any]:
    """As JSON has it, which knows no tuples."""
    value: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return value


def build(task: str, recipe: Recipe, seed: int) -> Any:
    """RLlib's algorithm for `task`; it runs in this process."""
    make = EXPERT_TASKS[task]
    example = make(1, 0)
    config = (
        PPOConfig()
        .environment(
            task,
            env_config=_sampling(make, recipe),
            observation_space=example.single_observation_space,
            action_space=example.single_action_space,
        )
        .framework("torch")
        .debugging(seed=seed, log_level="ERROR")
        .env_runners(env_runner_cls=VectorEnvRunner, num_env_runners=0, rollout_fragment_length=recipe.episode_steps)
        .learners(num_learners=0)
        .training(
            lr=[[0, recipe.learning_rate], [recipe.steps, recipe.learning_rate / 10]],
            gamma=recipe.gamma,
            lambda_=recipe.lambda_,
            clip_param=recipe.clip,
            entropy_coeff=[[0, recipe.entropy], [recipe.steps, 0.0]],
            use_kl_loss=False,
            vf_clip_param=float("inf"),
            vf_loss_coeff=0.5,
            grad_clip=recipe.grad_clip,
            num_epochs=recipe.n_epochs,
            minibatch_size=recipe.minibatch,
            train_batch_size_per_learner=recipe.n_envs * recipe.episode_steps,
        )
        .rl_module(model_config=_network(recipe))
    )
    example.close()
    return config.build_algo()


def _sampling(make: Callable[..., GoalCheetahs], recipe: Recipe) -> dict[str, Any]:
    """The settings of `VectorEnvRunner`."""
    return {
        "make": partial(make, length=recipe.episode_steps),
        "n_envs": recipe.n_envs,
        "reward_scale": recipe.reward_scale,
    }


def _network(recipe: Recipe) -> DefaultModelConfig:
    return DefaultModelConfig(
        fcnet_hiddens=list(recipe.hidden),
        fcnet_activation="tanh",
        head_fcnet_hiddens=[],
        vf_share_layers=False,
        free_log_std=True,
    )


def actor_of(algorithm: Any) -> Expert:
    """The mean of the policy as a plain network: standardisation becomes part of its first layer."""
    runner = algorithm.env_runner
    moments: RunningMoments = runner.moments
    state = {key: np.asarray(value) for key, value in runner.module.get_state().items()}
    parts = sorted(key.removesuffix(".weight") for key in state if ".actor_encoder." in key and key.endswith(".weight"))
    parts += [key.removesuffix(".weight") for key in state if key.startswith("pi.") and key.endswith(".weight")]
    layers = [(state[f"{part}.weight"], state[f"{part}.bias"]) for part in parts]
    weight, bias = layers[0]
    layers[0] = (weight * moments.scale, bias - (weight * moments.scale) @ moments.mean)
    return Expert(tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers))


def returns_of(expert: Expert, task: str, n: int, seed: int) -> Float32[np.ndarray, " n"]:
    """Return of one episode of the expert, without noise, in each of `n` environments."""
    env = EXPERT_TASKS[task](n, seed)
    observations, _ = env.reset()
    total, over = np.zeros(n, np.float32), False
    while not over:
        observations, rewards, _, truncated, _ = env.step(expert.act(observations))
        total += rewards
        over = bool(truncated.all())
    env.close()
    return total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train an expert with RLlib.")
    parser.add_argument("task", choices=sorted(EXPERT_TASKS))
    parser.add_argument("--recipe", type=json.loads, default={}, help="what differs, as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    train_expert(given.task, given.out, recipe=Recipe(**given.recipe), seed=given.seed)


if __name__ == "__main__":
    main()
