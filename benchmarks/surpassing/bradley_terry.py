"""The reward of D-REX: an ensemble that prefers snippets of less noisy episodes (Bradley and Terry, 1952).

After the code of Brown, Goo and Niekum (2019), github.com/dsbrown1331/CoRL2019-DREX, drex-mujoco: its numbers are the
defaults, and its observations are those before each action.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor, nn

from metalearn.data.episode import Array, Episode
from metalearn.training.collect import one_thread


@dataclass(frozen=True)
class BradleyTerry:
    """How it is trained.

    Attributes:
        pairs: that are drawn, once for each network; one in five is not learnt from.
        snippet: the most steps of an episode that are compared.
        margin: least difference in noise between the episodes of a pair.
        networks: of the ensemble.
        width: of two hidden layers.
        l2: weight of the sum of all squared weights.
        batch: pairs of a step.
        steps: of Adam.
    """

    pairs: int = 5_000
    snippet: int = 50
    margin: float = 0.3
    networks: int = 3
    width: int = 256
    l2: float = 0.01
    batch: int = 64
    steps: int = 3_000
    learning_rate: float = 1e-4


def pairs_of(noise: Float[np.ndarray, " e"], n: int, margin: float, rng: np.random.Generator) -> Int[np.ndarray, "n 2"]:
    """Pairs of episodes, the less noisy one first: two levels at least `margin` apart, and an episode of each."""
    levels = np.unique(noise)
    apart = np.argwhere(levels[None] - levels[:, None] >= margin - 1e-9)
    drawn = levels[apart[rng.integers(len(apart), size=n)]]
    members = {level: np.flatnonzero(noise == level) for level in levels}
    return np.array([[rng.choice(members[level]) for level in pair] for pair in drawn], np.int64)


def snippets_of(
    lengths: Int[np.ndarray, " n"], longest: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "n s"], Bool[np.ndarray, "n s"]]:
    """Consecutive steps of each of n episodes, and which of them are there: all of one that has fewer."""
    starts = rng.integers(np.maximum(lengths - longest, 0) + 1)
    steps = starts[:, None] + np.arange(longest)
    return np.minimum(steps, lengths[:, None] - 1), steps < lengths[:, None]


def preference_loss(better: Float[Tensor, " n"], worse: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of -log exp(b) / (exp(b) + exp(w)), for the summed rewards b and w of two snippets."""
    return nn.functional.softplus(worse - better).mean()


class RewardEnsemble(nn.Module):
    """Rewards of observations under each network: two hidden layers of ReLUs."""

    def __init__(self, n_inputs: int, config: BradleyTerry) -> None:
        super().__init__()
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(n_inputs, config.width), nn.ReLU(),
                nn.Linear(config.width, config.width), nn.ReLU(),
                nn.Linear(config.width, 1),
            )
            for _ in range(config.networks)
        )  # fmt: skip

    @torch.no_grad()
    def rewards(self, observations: Float32[np.ndarray, "t o"]) -> Float32[np.ndarray, "t n"]:
        """Of t observations under n networks."""
        seen = torch.from_numpy(observations)
        return torch.cat([network(seen) for network in self.networks], -1).numpy()

    def rank(self, episodes: Sequence[Episode]) -> Float[np.ndarray, " e"]:
        """The learnt return of each episode: the sum over its steps of the mean over networks."""
        return np.array([float(self.rewards(e.observations[:-1]).mean(1).sum()) for e in episodes])

    @classmethod
    def of_weights(cls, weights: Mapping[str, Array], config: BradleyTerry) -> "RewardEnsemble":
        """What `train_rewards` made."""
        made = cls(weights["networks.0.0.weight"].shape[1], config)
        made.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        return made


@one_thread()
def train_rewards(
    episodes: Sequence[Episode], noise: Float[np.ndarray, " e"], config: BradleyTerry, seed: int
) -> tuple[RewardEnsemble, float]:
    """Train each network on pairs of its own; also the share of pairs that it got right and did not learn from."""
    rng = np.random.default_rng([seed, 31])
    lengths = np.array([len(e) for e in episodes])
    seen = np.zeros((len(episodes), lengths.max(), episodes[0].observations.shape[1]), np.float32)
    for row, episode in zip(seen, episodes, strict=True):
        row[: len(episode)] = episode.observations[:-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ensemble = RewardEnsemble(seen.shape[-1], config)
    right = []
    for network in ensemble.networks:
        pairs = pairs_of(noise, config.pairs, config.margin, rng)
        steps, there = snippets_of(lengths[pairs.ravel()], config.snippet, rng)
        steps, there = (x.reshape(*pairs.shape, -1) for x in (steps, there))

        def returns(
            chosen: Array, network: nn.Module = network, told: tuple[Array, ...] = (pairs, steps, there)
        ) -> Tensor:
            of, at, mask = (x[chosen] for x in told)
            rewards = network(torch.from_numpy(seen[of[..., None], at])).squeeze(-1)
            return (rewards * torch.from_numpy(mask)).sum(-1)

        n_learnt = config.pairs * 4 // 5
        optimiser = torch.optim.Adam(network.parameters(), config.learning_rate)
        for _ in range(config.steps):
            summed = returns(rng.integers(n_learnt, size=config.batch))
            weights = sum(layer.weight.square().sum() for layer in network if isinstance(layer, nn.Linear))
            loss = preference_loss(summed[:, 0], summed[:, 1]) + config.l2 * weights
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            summed = returns(np.arange(n_learnt, config.pairs))
        right.append(float((summed[:, 0] > summed[:, 1]).float().mean()))
    return ensemble, float(np.mean(right))
