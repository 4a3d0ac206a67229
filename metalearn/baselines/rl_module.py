"""An actor and a critic as one RLModule for RLlib to train, the actor fresh or a behaviour-cloned policy.

Imports Ray: import it late. Does not know environments, nor how the weights are updated.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic, TorchDistribution
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, distributions, nn

from metalearn.baselines.mixture import Network
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.model.observations import ObservationEncoder, make_baseline_encoder

WIDTH = 64
STANDING_STILL = 0.01  # scale of a fresh actor's last layer
DEVIATION = 0.6  # of a fresh actor's actions, in units of half the width of the action space


class ActorCritic(TorchRLModule, ValueFunctionAPI):  # type: ignore[misc]  # Ray has no types
    """Two networks. `model_config` holds `spec` (JSON), `mean` and `std` of the observations for the critic and a
    fresh actor, and `cloned`: the network of the behaviour-cloned policy that is the actor, or None.
    """

    def setup(self) -> None:
        """Build the networks; RLlib calls this."""
        config = self.model_config
        spec = Spec.from_json(config["spec"])
        seen = make_baseline_encoder(spec)
        seen.scale_by(torch.tensor(config["mean"]), torch.tensor(config["std"]))
        self.actor: Fresh | Cloned = Fresh(spec, seen) if config["cloned"] is None else Cloned(spec, config["cloned"])
        self.critic = nn.Sequential(seen, *_layers(seen.size, 1))
        if not spec.discrete:
            self.action_dist_cls = mixture_of(self.actor.n_components, spec.action_size)

    def _forward(self, batch: Mapping[str, Any], **_: Any) -> dict[str, Tensor]:
        return {Columns.ACTION_DIST_INPUTS: self.actor(batch[Columns.OBS].flatten(1).float())}

    def compute_values(self, batch: Mapping[str, Any], embeddings: Any = None) -> Tensor:
        """Expected return of each state."""
        return self.critic(batch[Columns.OBS].flatten(1).float()).squeeze(-1)

    @torch.no_grad()
    def best(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The most probable discrete action, counted from 0, or the mean of the most probable Gaussian."""
        flat = torch.from_numpy(observation_vectors(observations))
        chosen = self.get_inference_action_dist_cls().from_logits(self.actor(flat)).to_deterministic()
        return chosen.sample().numpy()


class Fresh(nn.Module):
    """Stands still, more or less, until it has learnt better: logits, or a Gaussian with one deviation per action."""

    n_components = 1

    def __init__(self, spec: Spec, seen: ObservationEncoder) -> None:
        super().__init__()
        self.net = nn.Sequential(seen, *_layers(seen.size, spec.action_size))
        self.discrete = spec.discrete
        with torch.no_grad():
            for parameter in self.net[-1].parameters():
                parameter.mul_(STANDING_STILL)
        space: Any = spec.action_space
        width = np.zeros(1) if spec.discrete else (space.high - space.low) / 2
        middle = np.zeros(1) if spec.discrete else (space.high + space.low) / 2
        self.register_buffer("middle", torch.tensor(middle, dtype=torch.float32))
        self.register_buffer("half_width", torch.tensor(width, dtype=torch.float32))
        self.log_std = nn.Parameter(torch.tensor(np.log(DEVIATION * np.maximum(width, 1e-6)), dtype=torch.float32))

    def forward(self, observations: Float[Tensor, "b o"]) -> Float[Tensor, "b n"]:
        """Logits; or what `mixture_of(1, a)` takes."""
        out = self.net(observations)
        if self.discrete:
            return out
        means = self.get_buffer("middle") + self.get_buffer("half_width") * out
        return torch.cat([torch.zeros_like(out[:, :1]), means, self.log_std.expand_as(means)], -1)


class Cloned(nn.Module):
    """The behaviour-cloning baseline, whose latent says nothing."""

    def __init__(self, spec: Spec, network: Network) -> None:
        super().__init__()
        config = network.config
        self.net = deepcopy(network).train()
        self.discrete = spec.discrete
        self.n_components = config.n_components
        units = Units.of_bounds(spec)
        for name, values in (("offsets", units.offsets), ("sizes", units.sizes)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)
        sigma = np.broadcast_to(config.sigma * units.sizes, spec.action_size)
        self.log_std = nn.Parameter(torch.tensor(np.log(sigma), dtype=torch.float32))
        self.register_buffer("latent", torch.zeros(config.latent_dim))

    def forward(self, observations: Float[Tensor, "b o"]) -> Float[Tensor, "b n"]:
        """Logits; or what `mixture_of(n_components, a)` takes."""
        out = self.net(observations[:, None], self.get_buffer("latent").expand(len(observations), -1))[:, 0]
        if self.discrete:
            return out
        parts = out.unflatten(-1, (self.n_components, -1))
        log_std = self.log_std.expand(len(out), -1)
        means = parts[..., 1:] * self.get_buffer("sizes") + self.get_buffer("offsets")
        return torch.cat([parts[..., 0], means.flatten(1), log_std], -1)


def mixture_of(n_components: int, action_size: int) -> type[TorchDistribution]:
    """A distribution class: k Gaussians of one deviation per action, from `[b, k + k a + a]` (logits, means, log std).

    PPO through the likelihood of the whole mixture can move its weights too; through its best part it could not.
    """

    class Mixture(TorchDistribution):  # type: ignore[misc]
        def _get_torch_distribution(self, logits: Tensor) -> distributions.Distribution:
            weights, means, log_std = logits.split([n_components, n_components * action_size, action_size], -1)
            self.weights = distributions.Categorical(logits=weights, validate_args=False)
            self.means = means.unflatten(-1, (n_components, action_size))
            normal = distributions.Normal(self.means, log_std.exp()[..., None, :], validate_args=False)
            self.parts = distributions.Independent(normal, 1, validate_args=False)
            return distributions.MixtureSameFamily(self.weights, self.parts, validate_args=False)

        def entropy(self) -> Tensor:
            """Of the choice and of the parts: an upper bound, exact where the parts are far apart or there is one."""
            return self.weights.entropy() + self.parts.entropy()[..., 0]

        def to_deterministic(self) -> Any:
            """The mean of the most probable part."""
            chosen = self.weights.logits.argmax(-1)[..., None, None].expand(*self.means.shape[:-2], 1, action_size)
            return TorchDeterministic(loc=self.means.gather(-2, chosen).squeeze(-2))

        @staticmethod
        def required_input_dim(space: Any, **_: Any) -> int:
            return n_components * (1 + action_size) + action_size

    return Mixture


def _layers(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    return [nn.Linear(n_inputs, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, n_outputs)]
