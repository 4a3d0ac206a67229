"""The mathematics of learning from several hypotheses, as pure functions."""

import torch
from jaxtyping import Float
from torch import Tensor


def responsibilities(
    log_likelihood: Float[Tensor, "b #z"], log_prior: Float[Tensor, "b z"], temperature: float
) -> Float[Tensor, "b z"]:
    """r[b, z] = softmax over z of (log p(z | context) + temperature * log p(episode | z)).

    At temperature 1 the posterior over hypotheses given the episode (the E-step of expectation
    maximisation); at 0 the prior, so that every hypothesis learns the same (unimodal) behaviour. In
    between: deterministic annealing (Ueda and Nakano, 1998).
    """
    return torch.softmax(log_prior + temperature * log_likelihood, -1)


def mixture_loss(
    log_likelihood: Float[Tensor, "b #z"],
    log_prior: Float[Tensor, "b z"],
    n_steps: Float[Tensor, " n"],
    temperature: float,
    prior_weight: float = 1.0,
    log_within: Float[Tensor, "b z"] | None = None,
) -> Float[Tensor, ""]:
    """-sum_z r[z] (log p(episode | z) / mean steps + prior_weight * log p(z | context)), averaged over b.

    At temperature 1 (and prior_weight 1 / mean steps) its gradient is that of
    -log sum_z p(z | context) p(episode | z) / mean steps: a hypothesis explains an episode, not a step.
    At temperature 0 one hypothesis of each row may stand for all, in `log_likelihood [b, 1]`.
    `n_steps` are those of the n >= b episodes of the whole batch, of which this may be a part. `log_within` is
    what is learnt to predict z from, where that is more than the context: the episode so far too.
    """
    weights = responsibilities(log_likelihood, log_prior, temperature).detach()
    explained = (weights * log_likelihood).sum(-1).mean() / n_steps.mean()
    return -(explained + prior_weight * (weights * (log_prior if log_within is None else log_within)).sum(-1).mean())
