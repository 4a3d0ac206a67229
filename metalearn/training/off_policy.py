"""What recorded returns say of a policy that did not act: a weighted mean of them, and how much evidence that is.

Who recorded the episodes, and with which probabilities, is not known: it is estimated by a linear model of the
recorded actions. Pure functions of tensors; does not know episodes or policies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

CLIP = 10.0
"""An episode counts at most ten times as much, and at least a tenth as much, as it was recorded."""
ENOUGH = 10.0
"""Episodes that the weights have to be worth before their mean is told."""
_RIDGE = 1e-2
_LARGEST = 256


@dataclass(frozen=True)
class OffPolicyEvidence:
    """What recorded returns say of a policy.

    Attributes:
        value: the mean return of recorded episodes, weighted by how much likelier they are under it; None where
            there is not enough evidence.
        standard_error: of `value`.
        recorded: the mean return of the recorded episodes, to compare with.
        n_episodes: that were recorded with an outcome.
        effective_episodes: how many of them the weights are worth.
        clipped: the share of weights that were cut, 0 to 1; the more, the nearer `value` is to a ranking only.
        says: all this as a sentence.
    """

    value: float | None
    standard_error: float | None
    recorded: float
    n_episodes: int
    effective_episodes: float
    clipped: float
    says: str


def estimate(
    own: Float[Tensor, " n"], recorded: Float[Tensor, " n"], returns: Float[Tensor, " n"]
) -> OffPolicyEvidence:
    """v = sum_i w[i] R[i] / sum_i w[i] over n episodes, with log w[i] = clip(own[i] - recorded[i] - their median).

    Weighted importance sampling (Precup, Sutton and Singh, 2000) with clipped weights (Ionides, 2008): biased
    towards the recorded mean, and of finite variance. Worth (sum w)^2 / sum w^2 episodes (Kong, 1992).

    Args:
        own: log p(actions) of each episode under the policy.
        recorded: the same under whoever recorded it.
        returns: of each episode.
    """
    n, mean, limit = len(returns), float(returns.mean()), math.log(CLIP)
    # A policy that makes everything likelier by one factor prefers nothing: only differences count.
    ratios = own.double() - recorded.double()
    ratios = ratios - ratios.median()
    weights = ratios.clamp(-limit, limit).exp()
    clipped = float((ratios.abs() > limit).double().mean())
    effective = float(weights.sum() ** 2 / weights.square().sum())
    if float(returns.std(correction=0)) == 0:
        return _nothing(mean, n, effective, clipped, f"all {n} recorded episodes have a return of {mean:g}")
    if effective < ENOUGH:
        why = f"{n} recorded episodes are worth {effective:.1f} of what the policy would do, and {ENOUGH:g} are needed"
        return _nothing(mean, n, effective, clipped, why)
    value = float((weights * returns).sum() / weights.sum())
    error = float((weights * (returns - value)).square().sum().sqrt() / weights.sum())
    says = (
        f"episodes as the policy would do them had a return of {value:.3g} ± {error:.2g}, and all {n} one of {mean:.3g}"
    )
    return OffPolicyEvidence(value, error, mean, n, effective, clipped, f"{says} (worth {effective:.0f})")


def _nothing(mean: float, n: int, effective: float, clipped: float, why: str) -> OffPolicyEvidence:
    return OffPolicyEvidence(None, None, mean, n, effective, clipped, f"not enough evidence: {why}")


def recorded_likelihood(
    steps: Sequence[tuple[Float[Tensor, "_t o"], Shaped[Tensor, "_t *a"]]], discrete: bool
) -> Float[Tensor, " n"] | None:
    """log p(actions | observations) of each of n episodes under a linear model of all of them.

    Gaussian for continuous actions, a softmax for each component of discrete ones. None for observations of more
    numbers than a linear model of so few steps can use, such as pictures.
    """
    observations, actions = torch.cat([seen for seen, _ in steps]), torch.cat([done for _, done in steps])
    if observations.shape[1] > _LARGEST:
        return None
    scale = observations.std(0, correction=0)
    seen = (observations - observations.mean(0)) / torch.where(scale > 0, scale, 1.0)
    inputs = torch.cat([seen, torch.ones(len(seen), 1)], 1).double()
    if discrete:
        columns = actions.reshape(len(actions), -1).T
        per_step = torch.stack([_softmax_likelihood(inputs, column) for column in columns]).sum(0)
    else:
        per_step = _gaussian_likelihood(inputs, actions.reshape(len(actions), -1).double())
    lengths = [len(done) for _, done in steps]
    return torch.stack([own.sum() for own in per_step.split(lengths)]).float()


def _gaussian_likelihood(inputs: Float[Tensor, "t i"], actions: Float[Tensor, "t a"]) -> Float[Tensor, " t"]:
    regular = _RIDGE * len(inputs) * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    errors = actions - inputs @ torch.linalg.solve(inputs.T @ inputs + regular, inputs.T @ actions)
    sigma = errors.square().mean(0).sqrt().clamp(min=1e-3)
    return (-0.5 * (errors / sigma).square() - sigma.log() - 0.5 * math.log(2 * math.pi)).sum(1)


@torch.enable_grad()
def _softmax_likelihood(inputs: Float[Tensor, "t i"], choices: Shaped[Tensor, " t"]) -> Float[Tensor, " t"]:
    choices = choices.long()
    weights = torch.zeros(inputs.shape[1], int(choices.max()) + 1, dtype=inputs.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=50)

    def loss() -> Tensor:
        optimiser.zero_grad()
        found = functional.cross_entropy(inputs @ weights, choices) + _RIDGE * weights.square().sum()
        found.backward()
        return found

    optimiser.step(loss)
    return -functional.cross_entropy(inputs @ weights.detach(), choices, reduction="none")
