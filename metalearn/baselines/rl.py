"""Reinforcement learning on one task: PPO (Schulman et al., 2017, arXiv 1707.06347) as RLlib has it.

From scratch, or from the behaviour-cloned policy. Knows rewards and whether an episode ended; of other tasks at most
the cloned policy. With `rl_module` the home of Ray among the baselines; RLlib is imported when something is learnt.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Float32, Shaped
from safetensors import SafetensorError

from metalearn.baselines.bc import BcConfig
from metalearn.baselines.learning_curve import Examination, LearningCurve, milestones, training_seeds
from metalearn.baselines.mixture import Network
from metalearn.baselines.search import Scaler, random_episodes
from metalearn.bundle import Bundle
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.reading import read_arrays, read_json
from metalearn.data.spec import Spec
from metalearn.tasks.family import Family
from metalearn.tasks.registry import find_family
from metalearn.training.collect import one_thread


class Layouts(gym.Wrapper[Array, Any, Any, Any]):
    """One task whose every `reset` is the next layout of the training stream.

    Observations are vectors, and discrete actions count from 0.

    Counts the episodes that were begun, as those are what was used of the task.
    """

    def __init__(self, env: gym.Env[Any, Any], spec: Spec, seeds: Iterator[int]) -> None:
        super().__init__(env)
        self._spec, self._seeds = spec, seeds
        self.observation_space = vectors_of(spec)
        self.action_space = choices_of(spec)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """The next layout, whatever seed is given."""
        observation, info = self.env.reset(seed=next(self._seeds), options=options)
        return self._spec.vector(observation), info

    def step(self, action: Any) -> tuple[Array, SupportsFloat, bool, bool, dict[str, Any]]:
        """As the task's, once the action is within bounds."""
        observation, reward, terminated, truncated, info = self.env.step(within(self._spec, action))
        return self._spec.vector(observation), reward, terminated, truncated, info


@dataclass(frozen=True)
class Ppo:
    """Settings of PPO: the size of a batch, and the updates on it.

    Attributes:
        episodes_per_batch: of full length; more where episodes end early.
        n_envs: episodes that run side by side.
        n_test: fresh layouts of each point of the curve.
        random_episodes: with random actions, to see how observations spread; they count as used.
    """

    episodes_per_batch: int = 20
    n_envs: int = 20
    minibatch: int = 200
    epochs: int = 10
    learning_rate: float = 1e-3
    discount: float = 0.99
    gae_lambda: float = 0.95
    entropy: float = 0.0
    clip: float = 0.2
    n_test: int = 200
    random_episodes: int = 10


@dataclass(frozen=True)
class Rl:
    """From scratch."""

    ppo: Ppo = Ppo()
    name: str = "rl"
    what: str = "PPO (RLlib) from scratch, one task at a time, from the rewards of its own episodes"

    def optimise(
        self, family_name: str, index: int, n_episodes: int, seed: int, start: Path | None = None
    ) -> LearningCurve:
        """See `Optimiser`."""
        if start is not None:
            raise InvalidConfig(f"{self.name} starts from nothing: expected no start, got {start}")
        return _learn(find_family(family_name), index, n_episodes, seed, self.ppo, None)


@dataclass(frozen=True)
class RlFromBc:
    """From the behaviour-cloned policy; `start` is the folder of a trained method `bc`, or a bundle that has it."""

    ppo: Ppo = Ppo(learning_rate=3e-4)
    name: str = "rl-from-bc"
    what: str = "PPO (RLlib) from the behaviour-cloned policy (start: the folder of bc), one task at a time"

    def optimise(
        self, family_name: str, index: int, n_episodes: int, seed: int, start: Path | None = None
    ) -> LearningCurve:
        """See `Optimiser`."""
        if start is None:
            raise InvalidConfig(f"{self.name}: expected as start the folder of a trained bc, got none")
        family = find_family(family_name)
        return _learn(family, index, n_episodes, seed, self.ppo, cloned_network(start, family.spec))


def cloned_network(start: Path, spec: Spec) -> Network:
    """Read the network of `bc` from a bundle, or from a folder with `method.json` and `weights.safetensors`.

    Raises:
        InvalidConfig: neither is there, or what is there acts in other spaces.
    """
    try:
        if (start / "bundle.json").exists():
            bundle = Bundle.load(start)
            weights, made = bundle.baselines["bc"], bundle.provenance["baselines"]["bc"]
        else:
            made = read_json(start / "method.json")
            weights = read_arrays(start / "weights.safetensors")
        network = Network(spec, BcConfig.model_validate(made["config"]))
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    except OSError as error:
        raise InvalidConfig(f"no behaviour-cloned policy at {start}: {error.filename}: {error.strerror}") from error
    except (KeyError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        sentence = str(error).splitlines()[0]
        raise InvalidConfig(f"no behaviour-cloned policy for these tasks at {start}: {sentence}") from error
    return network


def _learn(family: Family, index: int, n_episodes: int, seed: int, ppo: Ppo, cloned: Network | None) -> LearningCurve:
    due, examine = milestones(n_episodes), Examination(family, index, seed, ppo.n_test)
    scaler = Scaler.of(random_episodes(family, index, seed, ppo.random_episodes))
    model_config = {"spec": family.spec.to_json(), "mean": scaler.mean, "std": scaler.std, "cloned": cloned}
    seeds = _stream(index, seed, ppo.random_episodes)
    with (
        one_thread(),
        torch.random.fork_rng(devices=[]),  # RLlib seeds the generator of the process
        closing(
            Learning(lambda _: Layouts(family.make(index), family.spec, seeds), ppo, model_config, seed)
        ) as learning,
    ):
        actor = ModuleActor(learning.module, family.spec)
        examine(0, actor)
        used = ppo.random_episodes
        while used < n_episodes:
            before, used = used, used + learning.step(ppo.episodes_per_batch * family.spec.horizon)
            if any(before < number <= used for number in due):
                examine(used, actor)
    return examine.curve


Pay = Callable[[Float32[np.ndarray, "t1 o"], Array, Array], Array]
"""What t steps are worth, `[t]`, of their t + 1 observations, actions `[t, *a]` and the environment's rewards `[t]`."""


class Learning:
    """RLlib's environment runner and learner of PPO, in this process: no cluster is started and none is joined.

    Args:
        make_env: makes an environment.
        ppo: settings.
        model_config: of `ActorCritic`.
        seed: of weights, actions and batches.
        pay: what is optimised; None: the environment's rewards.
    """

    def __init__(
        self,
        make_env: Callable[[Any], gym.Env[Any, Any]],
        ppo: Ppo,
        model_config: dict[str, Any],
        seed: int,
        pay: Pay | None = None,
    ) -> None:
        from ray.rllib.algorithms.ppo import PPOConfig
        from ray.rllib.core import DEFAULT_MODULE_ID
        from ray.rllib.core.rl_module.rl_module import RLModuleSpec
        from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

        from metalearn.baselines.rl_module import ActorCritic

        logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of its own use of what it deprecates
        config = (
            PPOConfig()
            .environment(make_env, normalize_actions=False, clip_actions=False, disable_env_checking=True)
            .env_runners(num_env_runners=0, num_envs_per_env_runner=ppo.n_envs)
            .learners(num_learners=0)
            .training(
                lr=ppo.learning_rate,
                gamma=ppo.discount,
                lambda_=ppo.gae_lambda,
                entropy_coeff=ppo.entropy,
                clip_param=ppo.clip,
                use_kl_loss=False,
                vf_clip_param=float("inf"),
                grad_clip=0.5,
                grad_clip_by="global_norm",
            )
            .rl_module(rl_module_spec=RLModuleSpec(module_class=ActorCritic, model_config=model_config))
            .debugging(seed=seed, log_level="ERROR")
        )
        self._ppo, self._pay = ppo, pay
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # every runner registers its environment under one name
            self._runner = SingleAgentEnvRunner(config=config)
        self._learner = config.build_learner(spaces=self._runner.get_spaces())
        self.module: Any = self._learner.module[DEFAULT_MODULE_ID]
        self._n_steps = 0

    def step(self, n_steps: int) -> int:
        """Sample `n_steps` steps, and update on them; returns how many episodes ended."""
        from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

        self._runner.module.load_state_dict(self.module.state_dict())
        episodes = self._runner.sample(num_timesteps=n_steps)
        if self._pay is not None:
            for episode in episodes:
                seen, done, rewards = (
                    np.asarray(read()) for read in (episode.get_observations, episode.get_actions, episode.get_rewards)
                )
                if len(rewards):
                    paid = self._pay(seen, done, rewards)
                    episode.set_rewards(new_data=paid, at_indices=slice(0, len(paid)))
        self._n_steps += n_steps
        self._learner.update(
            episodes=episodes,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._n_steps},
            num_epochs=self._ppo.epochs,
            minibatch_size=self._ppo.minibatch,
            shuffle_batch_per_epoch=True,
        )
        return sum(bool(episode.is_done) for episode in episodes)

    def close(self) -> None:
        """Close the environments."""
        self._runner.stop()


class ModuleActor:
    """The current policy of an RLlib module, without exploration."""

    def __init__(self, module: Any, spec: Spec) -> None:
        self._module, self._spec = module, spec

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The best action of each row."""
        return self._spec.actions.fit(np.asarray(within(self._spec, self._module.best(observations))))


def within(spec: Spec, actions: Any) -> Any:
    """Actions as the network makes them, as the environment takes them."""
    space: Any = spec.action_space
    if spec.discrete:
        return actions + spec.actions.lowest
    return np.clip(actions, space.low, space.high).astype(space.dtype)


def vectors_of(spec: Spec) -> gym.Space[Any]:
    """The space of observations as vectors."""
    return gym.spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)


def choices_of(spec: Spec) -> gym.Space[Any]:
    """The action space, with choices counted from 0.

    Raises:
        InvalidConfig: actions of several axes.
    """
    if not spec.discrete and len(spec.actions.shape) == 1:
        return spec.action_space
    if len(spec.action_choices) == 1:
        return gym.spaces.Discrete(spec.action_choices[0])
    if spec.discrete and len(spec.actions.shape) == 1:
        return gym.spaces.MultiDiscrete(list(spec.action_choices))
    raise InvalidConfig(f"action space: expected one of one axis, got {spec.action_space}")


def _stream(index: int, seed: int, start: int) -> Iterator[int]:
    while True:
        yield training_seeds(index, seed, start, 1)[0]
        start += 1
