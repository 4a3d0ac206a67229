"""What a trial was about is looked for or avoided, as the trial went."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.model.inference import Inference
from metalearn.model.observations.entities import KEY_SIZE, N_HEADS
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate

FAMILY = find_family("reach-colour")


def episodes() -> tuple[Episode, Episode]:
    return tuple(demonstrate(FAMILY, (0, 1), (1, 2), "trial", 0.0).episodes)


def policy(learnt: bool = False) -> ConditionalPolicy:
    """Of random weights, in which failures have been learnt to count the other way round or not."""
    torch.manual_seed(0)
    found = ConditionalPolicy(ModelConfig(max_trials=3), FAMILY.spec)
    if learnt:
        assert found.encoder.bearing is not None
        with torch.no_grad():
            found.encoder.bearing.bias.zero_()
            found.encoder.bearing.weight[:, -1] = 1.0
    return found


def about(inference: Inference, *trials: tuple[Episode, bool]) -> Array:
    """The keys of what trials of this success were about."""
    told = tuple(replace(episode, success=success, rewards=None) for episode, success in trials)
    (belief,) = inference.infer_belief([Context((), told)])
    return belief.latent[-N_HEADS * KEY_SIZE :]


def test_what_succeeded_is_looked_for_and_what_failed_is_avoided_once_that_is_learnt() -> None:
    inference, (one, other) = Inference(policy(learnt=True), FAMILY.spec), episodes()
    assert np.abs(about(inference, (one, True))).max() > 0.01
    np.testing.assert_allclose(about(inference, (one, False)), -about(inference, (one, True)), atol=1e-6)
    both = about(inference, (one, False), (other, True))
    np.testing.assert_allclose(both, about(inference, (other, True)) - about(inference, (one, True)), atol=1e-6)


@pytest.mark.parametrize("of_before", [False, True], ids=["to begin with", "a bundle of before"])
def test_without_anything_learnt_all_trials_count_alike(of_before: bool) -> None:
    weights = policy(learnt=of_before).to_weights()
    kept = {name: value for name, value in weights.items() if not (of_before and "bearing" in name)}
    inference = Inference(ConditionalPolicy.from_weights(policy().config, FAMILY.spec, kept), FAMILY.spec)
    one, other = episodes()
    np.testing.assert_allclose(about(inference, (one, False)), about(inference, (one, True)), atol=1e-6)
    both = about(inference, (one, False), (other, True))
    np.testing.assert_allclose(both, about(inference, (one, True)) + about(inference, (other, True)), atol=1e-6)
