"""RLlib's implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169) on recorded episodes, for continuous actions.

No cluster is started: its learner runs in this process, on batches that are drawn here. Settings are the paper's for
MuJoCo. Imports Ray: import it late.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from ray.rllib.algorithms.iql import IQLConfig
from ray.rllib.algorithms.iql.torch.default_iql_torch_rl_module import DefaultIQLTorchRLModule
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from metalearn.baselines.rl import choices_of, vectors_of, within
from metalearn.baselines.search import Scaler
from metalearn.data.episode import Episode
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.evaluation.protocol import returned
from metalearn.training.collect import one_thread

BATCH, RATE, EXPECTILE, TEMPERATURE, TAU, DISCOUNT = 256, 3e-4, 0.7, 3.0, 0.005, 0.99
WIDTHS = [256, 256]


class GaussianCatalog(SACCatalog):
    """A Gaussian policy, as the paper's; RLlib's own is squashed, and recorded actions lie at the bounds."""

    def get_action_dist_cls(self, framework: str) -> Any:
        return TorchDiagGaussian


class IqlActor:
    """The mean action of the policy, within bounds."""

    def __init__(self, module: Any, spec: Spec, scaler: Scaler) -> None:
        self._module, self._spec, self._scaler = module, spec, scaler

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        seen = torch.from_numpy(self._scaler(observations).astype(np.float32))
        with torch.no_grad():
            out = self._module.forward_inference({Columns.OBS: seen})[Columns.ACTION_DIST_INPUTS]
        return self._spec.actions.fit(within(self._spec, out.chunk(2, -1)[0].numpy()))


@one_thread()
def train_iql(episodes: Sequence[Episode], spec: Spec, steps: int, seed: int) -> IqlActor:
    """Train on episodes that time ended: no state is terminal.

    Args:
        episodes: with rewards and actions.
        spec: of their spaces; continuous actions.
        steps: of gradient descent.
        seed: of batches and networks.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of its own use of what it deprecates
    scaler = Scaler.of(list(episodes))
    columns = _columns(episodes, scaler)
    with torch.random.fork_rng(devices=[]):  # RLlib seeds the generator of the process
        learner = _config(spec, seed).build_learner(spaces={DEFAULT_MODULE_ID: (vectors_of(spec), choices_of(spec))})
        rng = np.random.default_rng(seed)
        for step in range(steps):
            rows = rng.integers(len(columns[Columns.REWARDS]), size=BATCH)
            batch = SampleBatch({name: torch.from_numpy(column[rows]) for name, column in columns.items()})
            learner.update(
                batch=MultiAgentBatch({DEFAULT_MODULE_ID: batch}, BATCH),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: (step + 1) * BATCH},
            )
    return IqlActor(learner.module[DEFAULT_MODULE_ID], spec, scaler)


def _config(spec: Spec, seed: int) -> Any:
    networks = DefaultModelConfig(
        fcnet_hiddens=WIDTHS, fcnet_activation="relu", fusionnet_hiddens=WIDTHS[:1], fusionnet_activation="relu"
    )
    module = RLModuleSpec(module_class=DefaultIQLTorchRLModule, catalog_class=GaussianCatalog, model_config=networks)
    return (
        IQLConfig()
        .environment(observation_space=vectors_of(spec), action_space=choices_of(spec))
        .env_runners(num_env_runners=0)
        .learners(num_learners=0)
        .training(
            beta=TEMPERATURE, expectile=EXPECTILE, tau=TAU, gamma=DISCOUNT, actor_lr=RATE, critic_lr=RATE,
            value_lr=RATE, train_batch_size_per_learner=BATCH,
        )
        .rl_module(rl_module_spec=module)
        .debugging(seed=seed, log_level="ERROR")
    )  # fmt: skip


def _columns(episodes: Sequence[Episode], scaler: Scaler) -> dict[str, Float32[np.ndarray, "n ..."]]:
    """All steps, one row each. Rewards are such that returns span as many units as an episode has steps."""
    returns = returned(episodes)
    scale = len(episodes[0]) / float(returns.max() - returns.min())
    seen = [scaler(e.observations).astype(np.float32) for e in episodes]
    rewards = np.concatenate([scale * e.rewards for e in episodes if e.rewards is not None]).astype(np.float32)
    return {
        Columns.OBS: np.concatenate([one[:-1] for one in seen]),
        Columns.NEXT_OBS: np.concatenate([one[1:] for one in seen]),
        Columns.ACTIONS: np.concatenate([observation_vectors(e.actions) for e in episodes if e.actions is not None]),
        Columns.REWARDS: rewards,
        Columns.TERMINATEDS: np.zeros(len(rewards), bool),
    }
