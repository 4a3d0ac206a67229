"""Meta-imitation learning: gradient steps on what was shown (MAML, Finn et al. 2017, arXiv 1709.04905).

The inner steps move a latent of the task that modulates the network, not the network itself (CAVIA, Zintgraf
et al. 2019, arXiv 1810.03642): as accurate, and thousands of tasks adapt at once. Cannot use demonstrations
without actions, nor trials that failed. The one home of learn2learn, which trains it.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from metalearn.baselines.mixture import (
    MixtureActor,
    MixtureConfig,
    Network,
    PairBatch,
    Pairs,
    fit,
    initial_network,
    thinned,
)
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.extras import missing_library
from metalearn.data.spec import Spec
from metalearn.training.collect import one_thread

ADAPT_CHUNK = 512
"""Tasks adapted at once: enough to be fast, few enough for the memory of a laptop."""


class MilConfig(MixtureConfig):
    """Settings of the baseline: the network, and the two loops."""

    inner_rate: float = Field(0.2, gt=0)
    inner_steps: int = Field(2, ge=1)
    first_order: bool = Field(False, description="ignore how the inner gradient depends on the weights")
    expert_share: float = Field(
        0.5, ge=0, le=1, description="how often an expert episode plays the successful trial in the inner loop"
    )


class Latents(nn.Module):
    """The parameters that MAML adapts: one latent for each of b tasks, 0 at first."""

    def __init__(self, n_tasks: int, latent_dim: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(n_tasks, latent_dim))


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
    network = initial_network(dataset, config, seed)
    maml = import_learn2learn().MAML(
        Latents(config.batch_tasks, config.latent_dim), lr=config.inner_rate, first_order=config.first_order
    )

    def loss_of(drawn: Sequence[TaskRecord]) -> Tensor:
        split = [inner_and_outer(record, config.expert_share, rng) for record in drawn]
        shown, wanted = (
            PairBatch.of([thinned(pairs, config.steps_per_episode, rng) for pairs in side], dataset.spec)
            for side in zip(*split, strict=True)
        )
        learner = maml.clone()
        for _ in range(config.inner_steps):
            learner.adapt(network.losses(shown, learner.module.values).sum())  # the sum keeps tasks independent
        return network.losses(wanted, learner.module.values).mean()

    return fit(network, config, dataset, loss_of, rng, progress)


class Mil:
    """The baseline behind the verb `adapt`."""

    def __init__(self, network: Network, spec: Spec, config: MilConfig) -> None:
        self._network = network.eval()
        self._spec, self._config = spec, config

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array], spec: Spec, config: MilConfig) -> "Mil":
        """Read the weights of `train_mil` with `config`, for tasks of the same spec.

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
        return cls(network, spec, config)

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> MixtureActor:
        """Inner gradient steps for each task; nothing is drawn.

        Raises:
            InvalidData: a demonstration without actions.
        """
        known = [pairs_of(context) for context in contexts]
        latents = [self._adapt(known[start : start + ADAPT_CHUNK]) for start in range(0, len(known), ADAPT_CHUNK)]
        return MixtureActor(self._network, self._spec, torch.cat(latents))

    def _adapt(self, known: Sequence[Pairs]) -> Float[Tensor, "b d"]:
        """The latents of some tasks; the latent of a task that shows nothing stays 0."""
        batch, config = PairBatch.of(known, self._spec), self._config
        latents = torch.zeros(len(known), config.latent_dim)
        for _ in range(config.inner_steps):
            latents.requires_grad_()
            (slope,) = torch.autograd.grad(self._network.losses(batch, latents).sum(), latents)
            latents = (latents - config.inner_rate * slope).detach()
        return latents


def inner_and_outer(record: TaskRecord, expert_share: float, rng: np.random.Generator) -> tuple[Pairs, Pairs]:
    """The episodes of the inner loop and of the outer loop: never the same episode."""
    shown, targets = list(_actions_of(record.demos, f"{record.task}.demos")), list(record.targets())
    solved = [i for i, episode in enumerate(record.experts) if episode.success]
    if solved and len(targets) > 1 and rng.random() < expert_share:
        shown.append(targets.pop(int(rng.choice(solved))))
    return shown, targets


def pairs_of(context: Context) -> Pairs:
    """Return the episodes of a context to imitate: the demonstrations and the trials that succeeded."""
    solved = [trial for trial in context.trials if trial.success and trial.actions is not None]
    return [*_actions_of(context.demos, "demos"), *_actions_of(solved, "trials")]


def _actions_of(episodes: Sequence[Episode], field: str) -> Iterator[tuple[Array, Array]]:
    for i, episode in enumerate(episodes):
        if episode.actions is None:
            raise InvalidData(f"{field}[{i}].actions", "actions to imitate (mil cannot do without)", "none")
        yield episode.observations[:-1], episode.actions


def can_train_mil() -> bool:
    """Whether learn2learn is installed; a trained `mil` adapts without it."""
    return find_spec("learn2learn") is not None


def import_learn2learn() -> Any:
    """`learn2learn.algorithms`, imported late and without the banners of what it imports."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from learn2learn import algorithms
        except ImportError as error:
            raise missing_library(error, "mil") from error
    return algorithms
