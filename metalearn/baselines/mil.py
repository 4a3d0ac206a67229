"""Meta-imitation learning: gradient steps on what was shown (MAML, Finn et al. 2017, arXiv 1709.04905).

The inner steps move a code of the task that modulates the network, not the network itself (CAVIA, Zintgraf
et al. 2019, arXiv 1810.03642): as accurate, and thousands of tasks adapt at once. Cannot use demonstrations
without actions, nor trials that failed. The one home of learn2learn, which trains it.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from metalearn.config import Config
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from metalearn.training.collect import one_thread

Pairs = Sequence[tuple[Array, Array]]
"""What one task gives to imitate: of each episode the observations `[t, *o]` and the actions `[t, *a]`."""

ADAPT_CHUNK = 512
"""Tasks adapted at once: enough to be fast, few enough for the memory of a laptop."""


class MilConfig(Config):
    """How the baseline is made."""

    width: int = Field(128, ge=1)
    code_size: int = Field(32, ge=1, description="numbers that the inner steps move")
    n_components: int = Field(4, ge=1, description="of the mixture of Gaussians over continuous actions")
    sigma: float = Field(0.3, gt=0, description="of each Gaussian; fixed, or the inner gradients explode")
    fourier: tuple[float, ...] = Field((0.25, 0.5, 1.0), description="frequencies, in units of pi")
    inner_rate: float = Field(0.2, gt=0)
    inner_steps: int = Field(2, ge=1)
    first_order: bool = Field(False, description="ignore how the inner gradient depends on the weights")
    steps: int = Field(1200, ge=0)
    batch_tasks: int = Field(64, ge=1)
    steps_per_episode: int = Field(32, ge=1, description="random steps of an episode that one update looks at")
    learning_rate: float = Field(3e-3, gt=0)
    expert_share: float = Field(
        0.5, ge=0, le=1, description="how often an expert episode plays the successful trial in the inner loop"
    )


@dataclass(frozen=True)
class PairBatch:
    """The pairs of b tasks, one episode after the other, padded to one length."""

    observations: Float[Tensor, "b t o"]
    actions: Shaped[Tensor, "b t *a"]
    mask: Float[Tensor, "b t"]

    @classmethod
    def of(cls, pairs: Sequence[Pairs], spec: Spec) -> "PairBatch":
        """Pad; a task may have nothing to imitate. Discrete actions are counted from 0."""
        lengths = [sum(len(actions) for _, actions in of_task) for of_task in pairs]
        b, t = len(pairs), max(1, *lengths)
        observations = np.zeros((b, t, spec.observation_size), np.float32)
        actions = np.zeros((b, t) if spec.discrete else (b, t, spec.action_size), spec.action_space.dtype)
        for row, of_task in enumerate(pairs):
            if of_task:
                seen = np.concatenate([episode for episode, _ in of_task])
                observations[row, : lengths[row]] = seen.reshape(len(seen), -1)
                actions[row, : lengths[row]] = np.concatenate([done for _, done in of_task])
                actions[row, : lengths[row]] -= getattr(spec.action_space, "start", 0)
        mask = np.arange(t) < np.array(lengths)[:, None]
        return cls(torch.from_numpy(observations), torch.from_numpy(actions), torch.from_numpy(mask).float())


class Network(nn.Module):
    """Observation and code of the task to an action distribution: a mixture of Gaussians, or logits."""

    def __init__(self, spec: Spec, config: MilConfig) -> None:
        super().__init__()
        self.config = config
        self.discrete = spec.discrete
        n_inputs = spec.observation_size * (1 + 2 * len(config.fourier))
        n_outputs = spec.action_size if spec.discrete else config.n_components * (1 + spec.action_size)
        self.register_buffer("mean", torch.zeros(spec.observation_size))
        self.register_buffer("std", torch.ones(spec.observation_size))
        self.layers = nn.ModuleList([nn.Linear(n_inputs, config.width), nn.Linear(config.width, config.width)])
        self.modulations = nn.ModuleList([nn.Linear(config.code_size, 2 * config.width) for _ in self.layers])
        self.head = nn.Linear(config.width, n_outputs)

    def forward(self, observations: Float[Tensor, "b t o"], codes: Float[Tensor, "b d"]) -> Float[Tensor, "b t n"]:
        """Parameters of the action distribution."""
        x = (observations - self.get_buffer("mean")) / self.get_buffer("std")
        angles = [torch.pi * frequency * x for frequency in self.config.fourier]
        x = torch.cat([x, *map(torch.sin, angles), *map(torch.cos, angles)], -1)
        for layer, modulation in zip(self.layers, self.modulations, strict=True):
            scale, shift = modulation(codes[:, None]).chunk(2, -1)
            x = torch.relu(layer(x) * (1 + scale) + shift)
        return self.head(x)

    def losses(self, batch: PairBatch, codes: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Negative log-likelihood of each task's actions (up to a constant), averaged over its steps."""
        out = self(batch.observations, codes)
        if self.discrete:
            nll = nn.functional.cross_entropy(out.transpose(1, 2), batch.actions, reduction="none")
        else:
            logits, means = self._mixture(out)
            errors = (means - batch.actions[..., None, :]).square().sum(-1)
            nll = -torch.logsumexp(logits.log_softmax(-1) - 0.5 * errors / self.config.sigma**2, -1)
        return (nll * batch.mask).sum(-1) / batch.mask.sum(-1).clamp(min=1)

    def best(self, observations: Float[Tensor, "b o"], codes: Float[Tensor, "b d"]) -> Shaped[Tensor, "b *a"]:
        """The most probable discrete action, or the mean of the most probable Gaussian."""
        out = self(observations[:, None], codes)[:, 0]
        if self.discrete:
            return out.argmax(-1)
        logits, means = self._mixture(out)
        return means[torch.arange(len(means)), logits.argmax(-1)]

    def _mixture(self, out: Tensor) -> tuple[Tensor, Tensor]:
        parts = out.unflatten(-1, (self.config.n_components, -1))
        return parts[..., 0], parts[..., 1:]


class Codes(nn.Module):
    """What MAML adapts: one code for each of b tasks, 0 to begin with."""

    def __init__(self, n_tasks: int, code_size: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(n_tasks, code_size))


@one_thread()
def train_mil(
    dataset: Dataset,
    config: MilConfig,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Array]:
    """Meta-train on recorded tasks: the demos are the inner loop's data, the expert episodes the outer's.

    Args:
        dataset: tasks with demonstrations that have actions.
        config: the network and the two loops.
        seed: of the initial weights and of the tasks that are drawn.
        progress: called with the steps done and the steps in all.

    Returns:
        Weights for `Mil.from_weights`, normaliser included.

    Raises:
        InvalidData: a demonstration without actions.
    """
    rng = np.random.default_rng(seed)
    network = _initial_network(dataset, config, seed)
    maml = _learn2learn().MAML(
        Codes(config.batch_tasks, config.code_size), lr=config.inner_rate, first_order=config.first_order
    )
    optimiser = torch.optim.Adam(network.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, max(config.steps, 1))
    for step in range(config.steps):
        drawn = [dataset.tasks[i] for i in rng.integers(len(dataset.tasks), size=config.batch_tasks)]
        split = [_inner_and_outer(record, config.expert_share, rng) for record in drawn]
        shown, wanted = (
            PairBatch.of([_thinned(pairs, config.steps_per_episode, rng) for pairs in side], dataset.spec)
            for side in zip(*split, strict=True)
        )
        learner = maml.clone()
        for _ in range(config.inner_steps):
            learner.adapt(network.losses(shown, learner.module.values).sum())  # the sum keeps tasks independent
        loss = network.losses(wanted, learner.module.values).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress(step + 1, config.steps)
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


class Mil:
    """The baseline behind the verb `adapt`."""

    def __init__(self, network: Network, spec: Spec) -> None:
        self._network = network.eval()
        self._spec = spec

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array], spec: Spec, config: MilConfig) -> "Mil":
        """What `train_mil` made with `config`, for tasks of the same spec.

        Raises:
            InvalidConfig: weights of something else.
        """
        network = Network(spec, config)
        try:
            network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        except RuntimeError as error:
            raise InvalidConfig(
                f"not the weights of mil for this spec: {str(error).splitlines()[-1].strip()}"
            ) from error
        return cls(network, spec)

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> "MilActor":
        """Inner gradient steps for each task; nothing is drawn.

        Raises:
            InvalidData: a demonstration without actions.
        """
        known = [_known(context) for context in contexts]
        codes = [self._adapt(known[start : start + ADAPT_CHUNK]) for start in range(0, len(known), ADAPT_CHUNK)]
        return MilActor(self._network, self._spec, torch.cat(codes))

    def _adapt(self, known: Sequence[Pairs]) -> Float[Tensor, "b d"]:
        """The codes of some tasks; the code of a task that shows nothing stays 0."""
        batch, config = PairBatch.of(known, self._spec), self._network.config
        codes = torch.zeros(len(known), config.code_size)
        for _ in range(config.inner_steps):
            codes.requires_grad_()
            (slope,) = torch.autograd.grad(self._network.losses(batch, codes).sum(), codes)
            codes = (codes - config.inner_rate * slope).detach()
        return codes


class MilActor:
    """One adapted code per task."""

    def __init__(self, network: Network, spec: Spec, codes: Float[Tensor, "b d"]) -> None:
        self._network = network
        self._spec = spec
        self._codes = codes

    @torch.no_grad()
    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The most probable action of each task."""
        flat = torch.from_numpy(observations.reshape(len(observations), -1).astype(np.float32))
        actions = self._network.best(flat, self._codes).numpy()
        space: Any = self._spec.action_space
        return actions + int(space.start) if self._spec.discrete else np.clip(actions, space.low, space.high)


def _initial_network(dataset: Dataset, config: MilConfig, seed: int) -> Network:
    """Random weights, and a normaliser fitted to everything that the dataset shows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(dataset.spec, config)
    episodes = [e for record in dataset.tasks for e in (*record.demos, *record.experts)]
    seen = np.concatenate([e.observations.reshape(len(e.observations), -1) for e in episodes]).astype(np.float32)
    network.get_buffer("mean").copy_(torch.from_numpy(seen.mean(0, dtype=np.float64)))
    network.get_buffer("std").copy_(torch.from_numpy(seen.std(0, dtype=np.float64) + 1e-3))
    return network


def _inner_and_outer(record: TaskRecord, expert_share: float, rng: np.random.Generator) -> tuple[Pairs, Pairs]:
    """What is adapted to, and what is asked of the adapted policy: never the same episode."""
    shown, targets = list(_actions_of(record.demos, f"{record.task}.demos")), list(record.targets())
    solved = [i for i, episode in enumerate(record.experts) if episode.success]
    if solved and len(targets) > 1 and rng.random() < expert_share:
        shown.append(targets.pop(int(rng.choice(solved))))
    return shown, targets


def _thinned(pairs: Pairs, n_steps: int, rng: np.random.Generator) -> Pairs:
    """At most `n_steps` random steps of each episode."""
    return [
        (seen, done) if len(done) <= n_steps else (seen[chosen], done[chosen])
        for seen, done in pairs
        for chosen in [rng.choice(len(done), min(n_steps, len(done)), replace=False)]
    ]


def _known(context: Context) -> Pairs:
    """What a context gives to imitate: the demonstrations and the trials that succeeded."""
    solved = [trial for trial in context.trials if trial.success and trial.actions is not None]
    return [*_actions_of(context.demos, "demos"), *_actions_of(solved, "trials")]


def _actions_of(episodes: Sequence[Episode], field: str) -> Iterator[tuple[Array, Array]]:
    for i, episode in enumerate(episodes):
        if episode.actions is None:
            raise InvalidData(f"{field}[{i}].actions", "actions to imitate (mil cannot do without)", "none")
        yield episode.observations[:-1], episode.actions


def _learn2learn() -> Any:
    """`learn2learn.algorithms`, imported late and without the banners of what it imports."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from learn2learn import algorithms
    return algorithms
