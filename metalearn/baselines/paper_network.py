"""The network of the original Watch, Try, Learn (Zhou, Jang et al. 2020, arXiv 1906.03352): one demo, one trial.

Knows resampled observations and a success flag; as in the original, what was *done* in a demo or a trial is never
seen. Does not know where episodes come from.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from metalearn.config import Config
from metalearn.data.episode import Episode
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.model.choices import log_likelihood_of_choices, most_probable_choices
from metalearn.model.observations import make_baseline_encoder


class PaperConfig(Config):
    """The original's sizes (state-based version), and how long it is trained here."""

    n_frames: int = Field(40, ge=2, description="an episode is resampled to so many observations, ends kept")
    kernel: int = Field(10, ge=1, description="of the convolutions over time")
    filters: tuple[int, ...] = (64, 32)
    hidden: int = Field(100, ge=1, description="after the convolutions, and of both layers of the actor")
    embedding: int = Field(32, ge=1, description="numbers that an episode is reduced to")
    fourier: tuple[float, ...] = Field((0.25, 0.5, 1.0), description="frequencies, in units of pi")
    n_components: int = Field(10, ge=1, description="of the mixture of Gaussians over continuous actions")
    least_sigma: float = Field(
        0.3, gt=0, description="of a Gaussian; with less, precision counts for more than what was meant"
    )
    trial_steps: int = Field(3500, ge=0, description="phase I: the trial policy, on demonstrations")
    retrial_steps: int = Field(2500, ge=0, description="phase II: the retrial policy, on one collected trial per task")
    batch_tasks: int = Field(64, ge=2)
    steps_per_task: int = Field(24, ge=1, description="random steps of experts imitated per update")
    learning_rate: float = Field(3e-3, gt=0)
    chunk_tasks: int = Field(64, ge=1, description="tasks tried side by side")


class EpisodeNet(nn.Module):
    """An episode of any channels over time to an embedding: convolutions, flatten, a layer, a linear map."""

    def __init__(self, n_channels: int, config: PaperConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        frames = config.n_frames
        for n_filters in config.filters:
            kernel = min(config.kernel, frames)
            frames -= kernel - 1
            layers += [nn.Conv1d(n_channels, n_filters, kernel, bias=False), nn.ReLU(), nn.GroupNorm(1, n_filters)]
            n_channels = n_filters
        self.convolutions = nn.Sequential(*layers)
        self.reduce = nn.Sequential(
            nn.Flatten(),
            *_layer(frames * n_channels, config.hidden),
            nn.Linear(config.hidden, config.embedding),
            nn.BatchNorm1d(config.embedding, affine=False),
        )

    def forward(self, episodes: Float[Tensor, "b f c"]) -> Float[Tensor, "b d"]:
        """The embedding of each episode."""
        return self.reduce(self.convolutions(episodes.transpose(1, 2)))


class PaperNetwork(nn.Module):
    """The common part of trial and retrial policy: the demo's embedding, and the actor with its mixture head."""

    def __init__(self, spec: Spec, config: PaperConfig, n_context: int) -> None:
        super().__init__()
        self.config, self.discrete, self._choices = config, spec.discrete, spec.action_choices
        self.observations = make_baseline_encoder(spec, config.fourier, ddof=1)
        self.demo = EpisodeNet(self.observations.size, config)
        n_outputs = spec.action_size if spec.discrete else config.n_components * (1 + spec.action_size)
        self.actor = nn.Sequential(
            *_layer(self.observations.size + n_context, config.hidden),
            *_layer(config.hidden, config.hidden),
            nn.Linear(config.hidden, n_outputs),
        )
        self.apply(_initialise)
        self.log_sigma = nn.Parameter(torch.full((config.n_components, spec.action_size), -1.0))

    def losses(
        self, context: Float[Tensor, "b d"], observations: Float[Tensor, "b t o"], actions: Shaped[Tensor, "b t *a"]
    ) -> Float[Tensor, "b t"]:
        """Negative log-likelihood of each action (up to a constant); discrete actions counted from 0."""
        out = self._out(context, observations)
        if self.discrete:
            return -log_likelihood_of_choices(out, actions, self._choices)
        logits, means = self._mixture(out)
        log_sigma = self.log_sigma.clamp(min=math.log(self.config.least_sigma))
        errors = (means - actions[..., None, :]) / log_sigma.exp()
        return -torch.logsumexp(logits.log_softmax(-1) - (0.5 * errors.square() + log_sigma).sum(-1), -1)

    def best(self, context: Float[Tensor, "b d"], observations: Float[Tensor, "b o"]) -> Shaped[Tensor, "b *a"]:
        """The most probable choices, or the mean of the most probable Gaussian: nothing is drawn."""
        out = self._out(context, observations[:, None])[:, 0]
        if self.discrete:
            return most_probable_choices(out, self._choices)
        logits, means = self._mixture(out)
        return means[torch.arange(len(means)), logits.argmax(-1)]

    def _out(self, context: Float[Tensor, "b d"], observations: Float[Tensor, "b t o"]) -> Float[Tensor, "b t n"]:
        seen = self.observations(observations)
        return self.actor(torch.cat([seen, context[:, None].expand(-1, seen.shape[1], -1)], -1))

    def _mixture(self, out: Tensor) -> tuple[Tensor, Tensor]:
        parts = out.unflatten(-1, (self.config.n_components, -1))
        return parts[..., 0], parts[..., 1:]


class TrialNetwork(PaperNetwork):
    """Phase I: a policy given a demonstration."""

    def __init__(self, spec: Spec, config: PaperConfig) -> None:
        super().__init__(spec, config, config.embedding)

    def context(self, demos: Float[Tensor, "b f o"]) -> Float[Tensor, "b d"]:
        """Return the actor's context of each task."""
        return self.demo(self.observations(demos))


class RetrialNetwork(PaperNetwork):
    """Phase II: a policy given a demonstration, one trial of the trial policy, and whether it succeeded."""

    def __init__(self, spec: Spec, config: PaperConfig) -> None:
        super().__init__(spec, config, 2 * config.embedding + 1)
        self.trial = EpisodeNet(self.observations.size + 1 + config.embedding, config)
        self.trial.apply(_initialise)

    @torch.no_grad()
    def start_from(self, trial: TrialNetwork) -> None:
        """Begin with what phase I learnt of demonstrations and of acting; of trials nothing is known yet."""
        mine = self.state_dict()
        for name, value in trial.state_dict().items():
            known = mine[name]
            if name == "actor.0.weight":
                known = known[:, : value.shape[1]]
            known.copy_(value)

    def context(
        self, demos: Float[Tensor, "b f o"], trials: Float[Tensor, "b f o"], success: Float[Tensor, " b"]
    ) -> Float[Tensor, "b d"]:
        """Return the actor's context of each task; `success` is +1 or -1, and 0 if it is unknown."""
        shown = self.demo(self.observations(demos))
        said = success[:, None]
        beside = torch.cat([said, shown], -1)[:, None].expand(-1, trials.shape[1], -1)
        return torch.cat([shown, self.trial(torch.cat([self.observations(trials), beside], -1)), said], -1)


def resampled(episodes: Sequence[Episode], n_frames: int) -> Float[Tensor, "n f o"]:
    """`n_frames` observations of each episode, evenly spread, first and last kept; short episodes repeat some.

    The original resamples the observations that an action followed; here the final one is kept too, without which
    a touch that ends the episode is invisible.
    """
    frames = [
        observation_vectors(e.observations[np.round(np.linspace(0, len(e), n_frames)).astype(np.int64)])
        for e in episodes
    ]
    return torch.from_numpy(np.stack(frames).astype(np.float32))


def successes(episodes: Sequence[Episode]) -> Float[Tensor, " n"]:
    """+1, -1, or 0 where unknown."""
    return torch.tensor([0.0 if e.success is None else 1.0 if e.success else -1.0 for e in episodes])


def _layer(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    return [nn.Linear(n_inputs, n_outputs), nn.ReLU(), nn.LayerNorm(n_outputs)]


def _initialise(module: nn.Module) -> None:
    """As the original's framework does by default (Glorot and Bengio, 2010): contexts that differ from the start."""
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
