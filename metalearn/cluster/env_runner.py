"""Sampling for RLlib from environments that are stepped in lockstep, whole episodes at a time.

RLlib's own runner handles every row and step in Python, which costs several times as much as the physics.
Does not know which environments these are, nor what is learnt from the episodes.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer

from metalearn.data.episode import Array
from metalearn.data.spaces import in_parts, parts_of


@dataclass(frozen=True, eq=False)
class RunningMoments:
    """Mean and variance of all observations so far."""

    mean: Float64[np.ndarray, " o"]
    variance: Float64[np.ndarray, " o"]
    count: float

    @property
    def scale(self) -> Float64[np.ndarray, " o"]:
        """The factor of deviations from the mean."""
        # Relative to the mean, so that no unit is too small; what never varied stays as it is.
        std = np.sqrt(self.variance)
        return 1 / np.where(std > 1e-7 * np.abs(self.mean), std, 1)

    @classmethod
    def unknown(cls, size: int) -> "RunningMoments":
        """Of no observations."""
        return cls(np.zeros(size), np.ones(size), 0.0)

    def updated(self, rows: Float[np.ndarray, "n o"]) -> "RunningMoments":
        """With the observations `rows` added (Chan, Golub and LeVeque 1979)."""
        n, total = len(rows), self.count + len(rows)
        shift = rows.mean(0, dtype=np.float64) - self.mean
        squares = self.variance * self.count + rows.var(0, dtype=np.float64) * n + shift**2 * self.count * n / total
        return RunningMoments(self.mean + shift * n / total, squares / total, float(total))

    def standardise(self, observations: Float[np.ndarray, "*n o"]) -> Float32[np.ndarray, "*n o"]:
        """Zero mean and unit variance."""
        return ((observations - self.mean) * self.scale).astype(np.float32)


class VectorEnvRunner(SingleAgentEnvRunner):  # type: ignore[misc]  # Ray has no types
    """Samples one whole episode of every row; observations are standardised by their moments so far.

    `env_config` says `make` (number of rows and seed -> environment), `n_envs` and `reward_scale`.
    """

    def make_env(self) -> None:
        """Make the environments."""
        settings = self.config.env_config
        self.env: Any = settings["make"](settings["n_envs"], self.config.seed or 0)
        self.num_envs = self.env.num_envs
        self._parts = parts_of(self.env.single_observation_space)
        self.moments = RunningMoments.unknown(self._parts[-1].numbers.stop)

    def sample(self, **kwargs: Any) -> list[SingleAgentEpisode]:
        """One episode of every row."""
        with torch.no_grad():
            seen, acted, logits, log_ps, rewards = self._run()
        standardised = self.moments.standardise(seen)
        self.moments = self.moments.updated(seen.reshape(-1, seen.shape[-1]))
        scaled = rewards * self.config.env_config["reward_scale"]
        self._increase_sampled_metrics(rewards.size, self.num_envs)
        self.metrics.log_value("unscaled_return", float(rewards.sum(1).mean()), window=1)
        return [
            SingleAgentEpisode(
                observations=_buffer(standardised[i]),
                actions=_buffer(acted[i]),
                rewards=_buffer(scaled[i]),
                infos=[{} for _ in standardised[i]],
                extra_model_outputs={
                    Columns.ACTION_DIST_INPUTS: _buffer(logits[i]),
                    Columns.ACTION_LOGP: _buffer(log_ps[i]),
                },
                truncated=True,
                t_started=0,
                len_lookback_buffer=0,
            )
            for i in range(self.num_envs)
        ]

    def _run(self) -> list[Array]:
        """Observations `[b t+1 o]`, actions, what they were drawn from, log-probabilities, rewards `[b t ...]`."""
        distribution = self.module.get_exploration_action_dist_cls()
        observations = self._vectors(self.env.reset()[0])
        over, seen, steps = False, [observations], []
        while not over:
            inputs = torch.from_numpy(self.moments.standardise(observations))
            logits = self.module.forward_exploration({Columns.OBS: inputs})[Columns.ACTION_DIST_INPUTS]
            drawn = distribution.from_logits(logits)
            actions = drawn.sample()
            after, rewards, _, truncated, _ = self.env.step(actions.numpy())
            observations = self._vectors(after)
            over = bool(truncated.all())
            seen.append(observations)
            steps.append((actions.numpy(), logits.numpy(), drawn.logp(actions).numpy(), rewards))
        return [np.stack(seen, 1), *(np.stack(column, 1) for column in zip(*steps, strict=True))]

    def _vectors(self, observations: Any) -> Float[np.ndarray, "b o"]:
        given = in_parts(observations, self.env.single_observation_space)
        return np.concatenate([given[part.name].reshape(self.num_envs, -1) for part in self._parts], 1)

    def get_metrics(self) -> Any:
        """Return the metrics that `sample` logged."""
        return self.metrics.reduce()

    def get_state(self, *args: Any, **kwargs: Any) -> Any:
        """RLlib's state and the moments."""
        return {**super().get_state(*args, **kwargs), "moments": asdict(self.moments)}

    def set_state(self, state: Any) -> None:
        """Take over RLlib's state, and the moments if they are part of it."""
        super().set_state(state)
        if "moments" in state:
            self.moments = RunningMoments(**state["moments"])


def _buffer(values: Array) -> InfiniteLookbackBuffer:
    return InfiniteLookbackBuffer(values, lookback=0)
