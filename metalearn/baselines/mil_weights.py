"""Meta-imitation learning over all weights: MAML as it was published (Finn et al. 2017, arXiv 1703.03400, 1709.04905).

The inner steps move the whole network, which has no latent: each task acts with weights of its own. Beside `mil`, whose
inner steps move a latent of the task, it says what that choice costs or gains.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metalearn.baselines.mil import MilConfig, import_learn2learn, inner_and_outer, pairs_of
from metalearn.baselines.mixture import Network, PairBatch, fit, initial_network, thinned
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.training.collect import one_thread

ADAPT_CHUNK = 128
"""Tasks adapted at once: each has a copy of the weights."""

Weights = Mapping[str, Tensor]


class MilWeightsConfig(MilConfig):
    """Settings of the baseline: smaller inner steps and fewer tasks at once than for a latent, which is always 0."""

    latent_dim: int = 1
    inner_rate: float = Field(0.05, gt=0)
    batch_tasks: int = Field(16, ge=1)


@one_thread()
def train_mil_weights(
    dataset: Dataset,
    config: MilWeightsConfig,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Array]:
    """Meta-train on recorded tasks, as `train_mil` does. Raises InvalidData: a demonstration without actions."""
    rng, nothing = np.random.default_rng(seed), torch.zeros(1, config.latent_dim)
    network = initial_network(dataset, config, seed)
    maml = import_learn2learn().MAML(network, lr=config.inner_rate, first_order=config.first_order)

    def loss_of(drawn: Sequence[TaskRecord]) -> Tensor:
        losses = []
        for record in drawn:
            shown, wanted = (
                PairBatch.of([thinned(pairs, config.steps_per_episode, rng)], dataset.spec)
                for pairs in inner_and_outer(record, config.expert_share, rng)
            )
            learner = maml.clone()
            for _ in range(config.inner_steps):
                learner.adapt(learner.module.losses(shown, nothing).sum(), allow_unused=True)
            losses.append(learner.module.losses(wanted, nothing))
        return torch.cat(losses).mean()

    return fit(network, config, dataset, loss_of, rng, progress)


class MilWeights:
    """The baseline behind the verb `adapt`."""

    def __init__(self, network: Network, spec: Spec, config: MilWeightsConfig) -> None:
        self._network, self._spec, self._config = network.eval(), spec, config

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array], spec: Spec, config: MilWeightsConfig) -> "MilWeights":
        """Read the weights of `train_mil_weights` with `config`. Raises RuntimeError: weights of another network."""
        network = Network(spec, config)
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        return cls(network, spec, config)

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> "WeightsActor":
        """Inner gradient steps for each task; nothing is drawn. Raises InvalidData: a demonstration without actions."""
        known = [pairs_of(context) for context in contexts]
        parts = [
            self._adapt(PairBatch.of(known[start : start + ADAPT_CHUNK], self._spec))
            for start in range(0, len(known), ADAPT_CHUNK)
        ]
        return WeightsActor(self._network, self._spec, parts)

    def _adapt(self, batch: PairBatch) -> dict[str, Tensor]:
        """The weights of b tasks, `[b, ...]`; those of a task that shows nothing stay what they are."""
        b, nothing = len(batch.mask), torch.zeros(1, self._config.latent_dim)
        loss = _Loss(self._network)

        def of_task(weights: Weights, observations: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
            one = PairBatch(observations[None], actions[None], mask[None])
            value: Tensor = functional_call(loss, dict(weights), (one, nothing))
            return value

        weights = {name: value.detach().expand(b, *value.shape) for name, value in loss.named_parameters()}
        for _ in range(self._config.inner_steps):
            slopes = vmap(grad(of_task))(weights, batch.observations, batch.actions, batch.mask)
            weights = {name: value - self._config.inner_rate * slopes[name] for name, value in weights.items()}
        return {name.removeprefix("network."): value for name, value in weights.items()}


class _Loss(nn.Module):
    """The loss of one task as a module, since only calls of modules can be given other weights."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: PairBatch, latents: Float[Tensor, "1 d"]) -> Float[Tensor, ""]:
        """The loss of the only task of a batch."""
        return self.network.losses(batch, latents).sum()


class WeightsActor:
    """Acts in b tasks, each with weights of its own."""

    def __init__(self, network: Network, spec: Spec, parts: Sequence[Weights]) -> None:
        self._network, self._units, self._parts = network, Units.of_bounds(spec), parts

    @torch.no_grad()
    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The most probable action of each task."""
        flat, start, actions = torch.from_numpy(observation_vectors(observations)), 0, []
        nothing = torch.zeros(1, self._network.config.latent_dim)
        for weights in self._parts:
            b = len(next(iter(weights.values())))
            rows = flat[start : start + b, None, None]
            out = vmap(lambda own, seen: functional_call(self._network, own, (seen, nothing)))(weights, rows)
            actions.append(self._network.most_probable(out[:, 0, 0]))
            start += b
        return self._units.decode_actions(torch.cat(actions).numpy())
