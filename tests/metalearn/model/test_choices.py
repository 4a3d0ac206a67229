from itertools import product

import numpy as np
import torch
from gymnasium import spaces
from torch.testing import assert_close

from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.spec import Spec
from metalearn.model.choices import log_likelihood_of_choices, most_probable_choices
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy

SPEC = Spec(spaces.Box(-1, 1, (3,)), spaces.MultiDiscrete([2, 3], start=[5, -1]), horizon=5, rate_hz=1.0)
CONFIG = ModelConfig(encoder_width=8, policy_width=8, latent_dim=4, n_hypotheses=2)


def test_several_choices_are_as_likely_as_all_of_them_together() -> None:
    logits = torch.tensor([[0.25, 0.75, 0.5, 0.3, 0.2]]).log()
    assert_close(log_likelihood_of_choices(logits, torch.tensor([[1, 2]]), (2, 3)).exp(), torch.tensor([0.15]))
    assert_close(log_likelihood_of_choices(logits, torch.tensor([2]), (5,)).exp(), torch.tensor([0.25]))
    assert most_probable_choices(logits, (2, 3)).tolist() == [[1, 0]]
    assert most_probable_choices(logits, (5,)).tolist() == [1]


def test_the_policy_takes_the_choices_that_are_most_likely_in_training() -> None:
    torch.manual_seed(0)
    model = Inference(ConditionalPolicy(CONFIG, SPEC), SPEC)
    demo = SPEC.example_episode(np.random.default_rng(0))
    latent = torch.from_numpy(model.infer_belief([Context((demo,))])[0].latent)[None]
    seen = torch.zeros(1, 1, 3)
    with torch.inference_mode():
        likely = {
            (5 + i, -1 + j): float(
                model.policy.log_likelihood(
                    latent, seen, torch.tensor([[[i, j]]]), torch.ones(1, 1), torch.zeros(1, 1, 0)
                )[0, 1]
            )
            for i, j in product(range(2), range(3))
        }
        conditioning = model.conditioning(latent.numpy(), np.array([1]))
    acted = model.act(conditioning, np.zeros((1, 3), np.float32))
    assert (acted.dtype, tuple(acted[0])) == (np.int64, max(likely, key=likely.__getitem__))
    assert_close(torch.tensor(list(likely.values())).exp().sum(), torch.tensor(1.0))
