"""The policy that is asked to be better than the demonstrations, and what it says of who acted in an episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from metalearn.bundle import Bundle, run_bundle
from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.asks import Ask, Better
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Episode
from metalearn.model.inference import Inference
from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.likelihood import step_log_likelihoods
from metalearn.training.loop import train

# For a cheetah, with a spread of actions that depends on who is imitated, and no attempts of its own.
MODEL = ModelConfig(
    n_frames=21, frame_means=True, fourier=(), n_hypotheses=1, policy_width=256, context_sigma=True, asks=("better",)
)
TRAINING = TrainingConfig(
    warmup_steps=1_500,
    rounds=0,
    trials_per_task=0,
    steps_per_episode=16,
    freeze_batchnorm_after=0.5,
    check_tasks=0,
)
GRID = 20
"""Qualities that an episode may have been asked for, evenly from the least that is known to 1."""


def asked_policy(name: str, data: Dataset, steps: int, seed: int, run: Path) -> Inference:
    """Train it on graded episodes, or go on, or load it if it is there."""
    if run_bundle(run) is None:
        training = TRAINING.model_copy(update={"warmup_steps": steps})
        recorded = DataConfig(demos_per_task=len(data.tasks[0].demos))
        experiment = Experiment(name=name, family="", data=recorded, model=MODEL, training=training, seed=seed)
        train(experiment, run, dataset=data)
    return Inference.load(Bundle.load(run / "bundle"))


@dataclass(frozen=True)
class AskedQuality:
    """Ranks episodes by what their actor was probably asked for: p(q | a, o) ~ p(a | o, asked for q), all q as likely.

    The policy is shown the noisiest demonstrator and asked to be better by q less that one's quality. The rank of an
    episode is the sum over its steps of the expected q, so that who keeps going has more. Nothing is trained for it.

    Attributes:
        inference: the policy that follows the ask.
        worst: demonstrations of the least quality that is known.
        quality: of these.
    """

    inference: Inference
    worst: tuple[Episode, ...]
    quality: float

    def rank(self, episodes: Sequence[Episode]) -> Float[np.ndarray, " e"]:
        """The expected qualities of each episode, summed over its steps."""
        asked = np.linspace(0, 1 - self.quality, GRID)
        contexts = [Context(self.worst, (), Ask((Better(float(by)),))) for by in asked]
        latents = np.stack([belief.latent for belief in self.inference.infer_belief(contexts)])
        return np.array([self._steps(latents, episode) @ (self.quality + asked) for episode in episodes])

    def _steps(self, latents: Float[np.ndarray, "m d"], episode: Episode) -> Float[np.ndarray, " m"]:
        """The probability of each quality, summed over steps."""
        assert episode.actions is not None
        units, none = self.inference.units, np.zeros(len(latents), np.int64)
        heads = self.inference.heads(latents, none, episode.observations, episode.actions)
        done = units.encode_actions(episode.actions)
        exact = np.zeros(done.shape[1], np.float32)
        logits, _ = step_log_likelihoods(heads, done, exact, units, EvidenceScale(sigma=1.0))
        found = np.exp(logits - logits.max(0))
        return (found / found.sum(0)).sum(1)
