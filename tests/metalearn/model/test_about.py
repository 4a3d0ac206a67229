"""What the trials of a context were about, the successes apart from the failures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.model.encoder import ABOUT
from metalearn.model.inference import Inference
from metalearn.model.observations.entities import KEY_SIZE, N_HEADS
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate

FAMILY = find_family("reach-colour")


@pytest.fixture(scope="module")
def inference() -> Inference:
    torch.manual_seed(0)
    return Inference(ConditionalPolicy(ModelConfig(max_trials=3), FAMILY.spec), FAMILY.spec)


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return demonstrate(FAMILY, (0, 1), (1, 2), "trial", 0.0).episodes


def about(inference: Inference, *trials: tuple[Episode, bool | None]) -> Array:
    """The keys of demos, of successes and of failures `[3, h c]`."""
    told = tuple(replace(episode, success=success, rewards=None) for episode, success in trials)
    (belief,) = inference.infer_belief([Context((), told)])
    return belief.latent[-ABOUT * N_HEADS * KEY_SIZE :].reshape(ABOUT, -1)


def test_a_success_and_a_failure_are_told_apart(inference: Inference, episodes: list[Episode]) -> None:
    one, other = episodes
    demos, succeeded, failed = about(inference, (one, False), (other, True))
    assert not demos.any()
    np.testing.assert_allclose(succeeded, about(inference, (other, True))[1], atol=1e-6)
    np.testing.assert_allclose(failed, about(inference, (one, False))[2], atol=1e-6)
    assert np.abs(succeeded - failed).max() > 0.01


def test_a_trial_of_unknown_success_is_half_of_each(inference: Inference, episodes: list[Episode]) -> None:
    _, succeeded, failed = about(inference, (episodes[0], None))
    np.testing.assert_allclose(succeeded, failed)
    np.testing.assert_allclose(2 * succeeded, about(inference, (episodes[0], True))[1], atol=1e-6)
