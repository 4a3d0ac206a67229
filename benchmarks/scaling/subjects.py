"""The contestants that step environments in n processes of one thread: bare simulator, our actors, RLlib's EnvRunners.

Every subject is a function without arguments that does one turn of work and returns the steps that were taken.
"""

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from metalearn.benchmark.by_hand import benchmarked_experiment
from metalearn.cluster.workers import RayCollector
from metalearn.config import DataConfig
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.envs.metaworld.push_and_pick import HORIZON
from metalearn.tasks.family import make_vec
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds
from metalearn.training.collect import (
    DemonstrationChunk,
    Snapshot,
    TaskTrials,
    TrialChunk,
    demonstrate_chunk,
    one_thread,
    try_chunk,
)

Turn = Callable[[], int]
ATTEMPTS = 2
"""The second in the light of the first, as in training."""
META_WORLD_EPISODES = 6
RUNNER_ENVS = 25
"""Most environments in one EnvRunner: it handles each of them at each step in Python."""


@dataclass(frozen=True)
class Setting:
    """Chunks of `n_tasks` tasks of a family, as many of them as are done in one turn by each of `n_workers`."""

    family: str
    n_tasks: int
    n_workers: int
    chunks_per_worker: int

    @property
    def n_chunks(self) -> int:
        return self.chunks_per_worker * self.n_workers


class Trials:
    """Trials of an untrained policy, of the size that is trained; without labels, as the bare simulator has none."""

    def __init__(self, setting: Setting) -> None:
        self.setting, family = setting, find_family(setting.family)
        model = benchmarked_experiment(setting.family).model
        torch.manual_seed(0)
        self.policy = Snapshot(model, ConditionalPolicy(model, family.spec).to_weights())
        indices = tuple(range(setting.n_tasks))
        records = demonstrate_chunk(DemonstrationChunk(setting.family, indices, DataConfig(), 0))
        contexts = tuple(Context(record.demos) for record in records)
        self.chunks = [
            TrialChunk(setting.family, indices, contexts, ATTEMPTS, number, relabel=False)
            for number in range(setting.n_chunks)
        ]

    def collect(self, collector: Any, relabel: bool = False) -> list[list[TaskTrials]]:
        """All chunks; `relabel`: with what the expert would have done in each state, as training wants it."""
        chunks = [replace(chunk, relabel=relabel) for chunk in self.chunks]
        return list(collector.map(partial(try_chunk, self.policy), chunks))


def n_steps(chunks: Sequence[Sequence[TaskTrials]]) -> int:
    return sum(len(episode) for tasks in chunks for trials in tasks for episode in trials.attempts)


# -- the bare simulator ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Recording:
    """The rollouts of one chunk: of each attempt the actions `[t b *a]`, and the success flags."""

    indices: tuple[int, ...]
    seeds: list[list[int]]
    actions: list[Array]
    success: list[list[bool]]


def recorded(chunk: TrialChunk, tasks: Sequence[TaskTrials]) -> Recording:
    attempts = [[trials.attempts[i] for trials in tasks] for i in range(ATTEMPTS)]
    actions = []
    for episodes in attempts:
        first = episodes[0].actions
        assert first is not None
        longest = max(map(len, episodes))
        padded = np.zeros((longest, len(episodes), *first.shape[1:]), first.dtype)
        for row, episode in enumerate(episodes):
            padded[: len(episode), row] = episode.actions
        actions.append(padded)
    seeds = [episode_seeds(chunk.indices, chunk.seed, i) for i in range(ATTEMPTS)]
    success = [[bool(episode.success) for episode in episodes] for episodes in attempts]
    return Recording(chunk.indices, seeds, actions, success)


@lru_cache
def recordings(path: Path) -> list[Recording]:
    return list(pickle.loads(path.read_bytes()))


def replay(family_name: str, path: Path, numbers: Sequence[int]) -> int:
    """The same episodes over again, from their seeds and actions: reset and step, and nothing else."""
    family, steps = find_family(family_name), 0
    with one_thread():
        for number in numbers:
            was = recordings(path)[number]
            env = make_vec(family, was.indices, "trial")
            for seeds, actions, success in zip(was.seeds, was.actions, was.success, strict=True):
                env.reset(seed=seeds)
                over = np.zeros(env.num_envs, bool)
                for now in actions:
                    steps += int((~over).sum())
                    _, _, terminated, truncated, info = env.step(now)
                    over = over | terminated | truncated
                assert info["success"].tolist() == success, "not the episode that was recorded"
            env.close()
    return steps


def meta_world(n_episodes: int) -> int:
    """Meta-World's own push-v3 with the same horizon, and constant actions, for comparison with ours."""
    env, action = own_push(), np.array([0.1, 0.1, -0.1, 0.0], np.float32)
    for _ in range(n_episodes):
        env.reset()
        for _ in range(HORIZON):
            env.step(action)
    return n_episodes * HORIZON


@lru_cache
def own_push() -> Any:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS["push-v3"]()
    env._set_task_called, env._freeze_rand_vec = True, False
    return env


def in_processes(pool: ProcessPoolExecutor, jobs: Sequence[partial[int]]) -> int:
    return sum(job.result() for job in [pool.submit(job) for job in jobs])


# -- RLlib ----------------------------------------------------------------------------------------------------


def env_runner(name: str, n_envs: int) -> Any:
    """RLlib's SingleAgentEnvRunner with copies of the environment and a comparable network, as an actor."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    family, width = find_family(name), benchmarked_experiment(name).model.policy_width

    def make(_: Any) -> Any:
        return find_family(name).make(0, "trial")

    config = (
        PPOConfig()
        .environment(make, observation_space=family.spec.observation_space, action_space=family.spec.action_space)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=n_envs, create_local_env_runner=True)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[width, width], vf_share_layers=True))
        .debugging(seed=0, log_level="ERROR")
    )
    return ray.remote(num_cpus=1)(SingleAgentEnvRunner).remote(config=config)


def sample(runners: Sequence[Any], n_episodes: int) -> int:
    samples = [runner.sample.remote(num_episodes=n_episodes, random_actions=False) for runner in runners]
    return sum(len(episode) for episodes in ray.get(samples) for episode in episodes)


# -- all of them ----------------------------------------------------------------------------------------------


@contextmanager
def subjects(setting: Setting, trials: Trials, collector: RayCollector, scratch: Path) -> Iterator[dict[str, Turn]]:
    """The subjects by name, started and warm; the bare simulator was seen to do the episodes of the actors."""
    name, n = setting.family, setting.n_workers
    done = trials.collect(collector)
    path = scratch / f"{name}-{setting.n_tasks}-{n}.pickle"
    path.write_bytes(pickle.dumps([recorded(c, tasks) for c, tasks in zip(trials.chunks, done, strict=True)]))
    n_envs = min(setting.n_tasks, RUNNER_ENVS)
    shares = [range(i, setting.n_chunks, n) for i in range(n)]
    runners = [env_runner(name, n_envs) for _ in range(n)]
    with ProcessPoolExecutor(n, get_context("spawn")) as pool:
        found: dict[str, Turn] = {
            "bare": lambda: in_processes(pool, [partial(replay, name, path, share) for share in shares]),
            "actors": lambda: n_steps(trials.collect(collector)),
            "labelled": lambda: n_steps(trials.collect(collector, relabel=True)),
            "env_runners": lambda: sample(runners, n_envs),
        }
        if name.startswith("push"):
            found["meta_world"] = lambda: in_processes(pool, [partial(meta_world, META_WORLD_EPISODES)] * n)
        assert found["bare"]() == n_steps(done)
        for turn in found.values():
            turn()
        yield found
    for runner in runners:
        ray.kill(runner)


def take_turns(found: dict[str, Turn], rounds: int) -> dict[str, list[float]]:
    """Steps a second of each subject in each round. Who begins changes from round to round."""
    names, rates = list(found), {name: list[float]() for name in found}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            began = time.perf_counter()
            steps = found[name]()
            rates[name].append(steps / (time.perf_counter() - began))
    return rates
