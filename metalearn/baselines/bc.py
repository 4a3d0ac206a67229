"""Behaviour cloning without context: imitates the experts of all tasks at once, whatever it is shown.

A mixture of Gaussians whose weights depend on the state: it heads for something that experts head for, and once
under way the state itself tells it where to. A cloner that averages over tasks would stand still.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from metalearn.baselines.mixture import (
    MixtureActor,
    MixtureConfig,
    Network,
    PairBatch,
    fit,
    initial_network,
    thinned,
)
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.training.collect import one_thread


class BcConfig(MixtureConfig):
    """Settings of the baseline; the latent is always 0."""

    latent_dim: int = 1


@one_thread()
def train_bc(
    dataset: Dataset,
    config: BcConfig,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Array]:
    """Maximum likelihood on `TaskRecord.targets`. Returns weights for `Bc.from_weights`, normaliser included."""
    rng = np.random.default_rng(seed)
    network = initial_network(dataset, config, seed)
    latents = torch.zeros(config.batch_tasks, config.latent_dim)

    def loss_of(drawn: Sequence[TaskRecord]) -> Tensor:
        pairs = [thinned(list(record.targets()), config.steps_per_episode, rng) for record in drawn]
        return network.losses(PairBatch.of(pairs, dataset.spec), latents).mean()

    return fit(network, config, dataset, loss_of, rng, progress)


class Bc:
    """The baseline behind the verb `adapt`."""

    def __init__(self, network: Network, spec: Spec) -> None:
        self._network = network.eval()
        self._spec = spec

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array], spec: Spec, config: BcConfig) -> "Bc":
        """Read the weights of `train_bc` with `config`. Raises RuntimeError: weights of another network."""
        network = Network(spec, config)
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        return cls(network, spec)

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> MixtureActor:
        """The same policy for every task."""
        return MixtureActor(self._network, self._spec, torch.zeros(len(contexts), self._network.config.latent_dim))
