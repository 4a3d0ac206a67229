"""A mixture-density policy (Bishop, 1994) modulated by a latent of the task: the network of the cloning baselines.

Knows observations, actions and latents; does not know where a latent comes from, nor what the loss of an update is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from metalearn.config import Config
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.model.choices import log_likelihood_of_choices, most_probable_choices
from metalearn.model.observations import make_baseline_encoder

Pairs = Sequence[tuple[Array, Array]]
"""The episodes of one task to imitate: observations `[t, *o]` and actions `[t, *a]` of each."""


class MixtureConfig(Config):
    """The network, and how it is trained."""

    width: int = Field(128, ge=1)
    latent_dim: int = Field(32, ge=1, description="numbers that say which task it is")
    n_components: int = Field(4, ge=1, description="of the mixture of Gaussians over continuous actions")
    sigma: float = Field(0.3, gt=0, description="of each Gaussian; fixed, or the inner gradients of mil explode")
    fourier: tuple[float, ...] = Field((0.25, 0.5, 1.0), description="frequencies, in units of pi")
    steps: int = Field(1200, ge=0)
    batch_tasks: int = Field(64, ge=1)
    steps_per_episode: int = Field(32, ge=1, description="random steps of an episode that one update looks at")
    learning_rate: float = Field(3e-3, gt=0)


@dataclass(frozen=True)
class PairBatch:
    """The pairs of b tasks, one episode after the other, padded to one length."""

    observations: Float[Tensor, "b t o"]
    actions: Shaped[Tensor, "b t *a"]
    mask: Float[Tensor, "b t"]

    @classmethod
    def of(cls, pairs: Sequence[Pairs], spec: Spec) -> "PairBatch":
        """Pad; a task may have nothing to imitate. Discrete actions count from 0, others in halves of their range."""
        units = Units.of_bounds(spec)
        lengths = [sum(len(actions) for _, actions in of_task) for of_task in pairs]
        b, t = len(pairs), max(1, *lengths)
        observations = np.zeros((b, t, spec.observation_size), np.float32)
        nothing = units.targets(np.zeros((0, *spec.actions.shape), np.int64 if spec.discrete else np.float32))
        actions = np.zeros((b, t, *nothing.shape[1:]), nothing.dtype)
        for row, of_task in enumerate(pairs):
            if of_task:
                seen = np.concatenate([episode for episode, _ in of_task])
                observations[row, : lengths[row]] = observation_vectors(seen)
                done = np.concatenate([done for _, done in of_task])
                actions[row, : lengths[row]] = units.targets(done)
        mask = np.arange(t) < np.array(lengths)[:, None]
        return cls(torch.from_numpy(observations), torch.from_numpy(actions), torch.from_numpy(mask).float())


class Network(nn.Module):
    """Observation and latent of the task to an action distribution: a mixture of Gaussians, or logits."""

    def __init__(self, spec: Spec, config: MixtureConfig) -> None:
        super().__init__()
        self.config = config
        self.discrete, self._choices = spec.discrete, spec.action_choices
        n_outputs = spec.action_size if spec.discrete else config.n_components * (1 + spec.action_size)
        self.observations = make_baseline_encoder(spec, config.fourier)
        self.layers = nn.ModuleList(
            [nn.Linear(self.observations.size, config.width), nn.Linear(config.width, config.width)]
        )
        self.modulations = nn.ModuleList([nn.Linear(config.latent_dim, 2 * config.width) for _ in self.layers])
        self.head = nn.Linear(config.width, n_outputs)

    def forward(self, observations: Float[Tensor, "b t o"], latents: Float[Tensor, "b d"]) -> Float[Tensor, "b t n"]:
        """Parameters of the action distribution."""
        x = self.observations(observations)
        for layer, modulation in zip(self.layers, self.modulations, strict=True):
            scale, shift = modulation(latents[:, None]).chunk(2, -1)
            x = torch.relu(layer(x) * (1 + scale) + shift)
        return self.head(x)

    def losses(self, batch: PairBatch, latents: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Negative log-likelihood of each task's actions (up to a constant), averaged over its steps."""
        out = self(batch.observations, latents)
        if self.discrete:
            nll = -log_likelihood_of_choices(out, batch.actions, self._choices)
        else:
            logits, means = self._mixture(out)
            errors = (means - batch.actions[..., None, :]).square().sum(-1)
            nll = -torch.logsumexp(logits.log_softmax(-1) - 0.5 * errors / self.config.sigma**2, -1)
        return (nll * batch.mask).sum(-1) / batch.mask.sum(-1).clamp(min=1)

    def best(self, observations: Float[Tensor, "b o"], latents: Float[Tensor, "b d"]) -> Shaped[Tensor, "b *a"]:
        """The most probable choices, or the mean of the most probable Gaussian."""
        return self.most_probable(self(observations[:, None], latents)[:, 0])

    def most_probable(self, out: Float[Tensor, "b n"]) -> Shaped[Tensor, "b *a"]:
        """The same of parameters of the action distribution."""
        if self.discrete:
            return most_probable_choices(out, self._choices)
        logits, means = self._mixture(out)
        return means[torch.arange(len(means)), logits.argmax(-1)]

    def _mixture(self, out: Tensor) -> tuple[Tensor, Tensor]:
        parts = out.unflatten(-1, (self.config.n_components, -1))
        return parts[..., 0], parts[..., 1:]


class MixtureActor:
    """Acts in b tasks, each with its latent."""

    def __init__(self, network: Network, spec: Spec, latents: Float[Tensor, "b d"]) -> None:
        self._network = network
        self._units = Units.of_bounds(spec)
        self._latents = latents

    @torch.no_grad()
    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The most probable action of each task."""
        flat = torch.from_numpy(observation_vectors(observations))
        return self._units.decode_actions(self._network.best(flat, self._latents).numpy())


def initial_network(dataset: Dataset, config: MixtureConfig, seed: int) -> Network:
    """Random weights, and a normaliser fitted to everything that the dataset shows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(dataset.spec, config)
    episodes = [e for record in dataset.tasks for e in (*record.demos, *record.experts)]
    network.observations.fit(torch.from_numpy(np.concatenate([observation_vectors(e.observations) for e in episodes])))
    return network


def fit(
    network: Network,
    config: MixtureConfig,
    dataset: Dataset,
    loss_of: Callable[[Sequence[TaskRecord]], Float[Tensor, ""]],
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> dict[str, Array]:
    """Train on `loss_of` tasks drawn at random, one batch an update; returns the weights, buffers included."""
    optimiser = torch.optim.Adam(network.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, max(config.steps, 1))
    for step in range(config.steps):
        loss = loss_of([dataset.tasks[i] for i in rng.integers(len(dataset.tasks), size=config.batch_tasks)])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress(step + 1, config.steps)
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def thinned(pairs: Pairs, n_steps: int, rng: np.random.Generator) -> Pairs:
    """At most `n_steps` random steps of each episode."""
    return [
        (seen, done) if len(done) <= n_steps else (seen[chosen], done[chosen])
        for seen, done in pairs
        for chosen in [rng.choice(len(done), min(n_steps, len(done)), replace=False)]
    ]
