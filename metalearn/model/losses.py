"""The mathematics of learning from several hypotheses, as pure functions."""

import torch
from jaxtyping import Float
from torch import Tensor


def responsibilities(
    log_likelihood: Float[Tensor, "b #z"], log_prior: Float[Tensor, "b z"], temperature: float
) -> Float[Tensor, "b z"]:
    """r[b, z] = softmax over z of temperature * (log p(z | context) + log p(episode | z)).

    At temperature 1 the posterior over hypotheses given the episode (the E-step of expectation maximisation); at 0
    uniform, so that every hypothesis learns the same (unimodal) behaviour, and none becomes likelier. In between:
    deterministic annealing (N. Ueda and R. Nakano, "Deterministic annealing EM algorithm", Neural Networks 11, 1998).
    A prior that is not annealed too settles on one hypothesis while all are alike.
    """
    return torch.softmax(temperature * (log_prior + log_likelihood), -1)


def mixture_loss(
    log_likelihood: Float[Tensor, "b #z"],
    log_prior: Float[Tensor, "b z"],
    n_steps: Float[Tensor, " b"],
    temperature: float,
    prior_weight: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, ""]:
    """-sum_z r[z] (log p(episode | z) / steps + prior_weight * log p(z | context)), averaged over b.

    At temperature 1 (and prior_weight 1 / steps) its gradient is that of -log sum_z p(z | context) p(episode | z) /
    steps: a hypothesis explains an episode, not a step. Every episode counts alike, for long ones are often those in
    which an attempt was stuck. At temperature 0 one hypothesis of each row may stand for all, in `log_likelihood
    [b, 1]`.
    """
    weights = responsibilities(log_likelihood, log_prior, temperature).detach()
    explained = (weights * log_likelihood).sum(-1) / n_steps.clamp(min=1)
    predicted = (weights * log_prior).sum(-1)
    return -(explained + prior_weight * predicted).mean()
