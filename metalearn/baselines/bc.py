"""Behaviour cloning without context: the conditional policy, told nothing of the task.

Same network, data and learner. It still draws one hypothesis per episode, so it commits to something that
experts do; a cloner that averages over tasks would stand still, and be too easy to beat.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from metalearn.adapter import Actor
from metalearn.config import ModelConfig, TrainingConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.batches import TrainingSet
from metalearn.training.learner import Learner

STEPS = 600
UNIMODAL_STEPS = 100
RAMP_FROM = 0.01


def without_encoder(model: ModelConfig) -> ModelConfig:
    """The same policy with as little of an encoder as can be, since nothing will come through it."""
    return model.model_copy(update={"encoder_width": 4, "code_size": 4})


def train_bc(
    dataset: Dataset,
    model: ModelConfig,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    steps: int = STEPS,
) -> dict[str, Array]:
    """Imitate the experts of all tasks at once. Returns weights for `Bc.from_weights`, normaliser included."""
    config = TrainingConfig(warmup_steps=steps, rounds=0, steps_per_episode=32)
    data, generator = TrainingSet(dataset, model), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learner = Learner(ConditionalPolicy(model, dataset.spec), config)
    learner.policy.fit_normaliser(data.observations())
    for step in range(steps):
        ramped = min(1.0, max(0, step - UNIMODAL_STEPS) / max(1, steps // 3))
        batch = data.draw(config, own_trials=False, generator=generator).without_context()
        learner.step(batch, RAMP_FROM ** (1 - ramped) if ramped else 0.0)
        progress(step + 1, steps)
    return learner.policy.to_weights()


class Bc:
    """The baseline behind the verb `adapt`: whatever it is shown, it acts as if it were shown nothing."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array], spec: Spec, model: ModelConfig) -> "Bc":
        """What `train_bc` made with `model`. Raises RuntimeError: weights of something else."""
        return cls(Inference(ConditionalPolicy.from_weights(model, spec, weights), spec))

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Actor:
        """One hypothesis drawn per task."""
        return self._inference.adapt([Context()] * len(contexts), rng)
