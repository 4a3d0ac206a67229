import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metalearn.model.losses import mixture_loss, responsibilities

likelihoods = hnp.arrays(np.float32, (3, 4), elements=st.floats(-50, 50, width=32))


def test_responsibilities_by_hand():
    # p(z) = 1/4, 3/4 and p(episode | z) = 3, 1: the two explain the episode equally well.
    prior = torch.tensor([[0.25, 0.75]]).log()
    likelihood = torch.tensor([[3.0, 1.0]]).log()
    torch.testing.assert_close(responsibilities(likelihood, prior, 1.0), torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(responsibilities(likelihood, prior, 0.0), torch.tensor([[0.5, 0.5]]))
    root = torch.tensor([[0.25**0.5, 0.5**0.5]])
    unequal = responsibilities(torch.tensor([[1.0, 2 / 3]]).log(), prior, 0.5)
    torch.testing.assert_close(unequal, root / root.sum())


@given(likelihoods, likelihoods)
def test_at_temperature_1_the_gradient_is_that_of_the_marginal_likelihood(a: np.ndarray, b: np.ndarray):
    likelihood, logits = torch.tensor(a, requires_grad=True), torch.tensor(b)
    prior = logits.log_softmax(-1)
    mixture_loss(likelihood, prior, torch.full((3,), 2.0), temperature=1.0).backward()
    exact = torch.tensor(a, requires_grad=True)
    (-torch.logsumexp(prior + exact, -1).mean() / 2.0).backward()
    torch.testing.assert_close(likelihood.grad, exact.grad, rtol=1e-4, atol=1e-6)


@given(likelihoods)
def test_at_temperature_0_every_hypothesis_becomes_as_probable(a: np.ndarray):
    logits = torch.randn((3, 4), generator=torch.Generator().manual_seed(0)).requires_grad_()
    mixture_loss(torch.tensor(a), logits.log_softmax(-1), torch.ones(3), temperature=0.0).backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(-1) - 0.25).detach() / 3, rtol=0, atol=1e-6)


def test_one_hypothesis_is_plain_maximum_likelihood():
    loss = mixture_loss(torch.tensor([[-6.0], [-1.0]]), torch.zeros(2, 1), torch.tensor([3.0, 1.0]), 1.0)
    assert math.isclose(float(loss), (6 / 3 + 1 / 1) / 2)  # per step, and a long episode counts as a short one does
