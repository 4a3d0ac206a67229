"""What an action does where tasks differ in it: a Jacobian, estimated from what was tried, and acted through.

A linear model with a prior over tasks: dynamics lie near a subspace that was fitted to the training tasks, so a
step or two say which world this is. Pure mathematics on sums over steps; does not know episodes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

DAMPING = 0.01  # of the inverse, in units of the mean squared singular value of the average Jacobian
SMALLEST_SPREAD = 1e-8
NOISE = 1e-4  # variance of what the linear model leaves unexplained in one step, in squared standard deviations


class Dynamics(nn.Module):
    """change of observation ~ J action, J = mean + sum_r c_r basis_r, with c ~ N(0, diag(spread)).

    The posterior of c given all steps so far is that of Bayesian linear regression (Bishop, 2006, section 3.3).
    It depends on two sums over steps alone, which travel in the latent of a context: `cross` = sum of change x
    action, `[o a]`, and `power` = sum of action x action, `[a a]`. Observations are in units of `std`.
    """

    def __init__(self, rank: int, observation_size: int, action_size: int) -> None:
        super().__init__()
        self.shape = (observation_size, action_size)
        self.register_buffer("mean", torch.zeros(self.shape))
        self.register_buffer("basis", torch.zeros(rank, *self.shape))
        self.register_buffer("spread", torch.ones(rank))
        self.register_buffer("damping", torch.tensor(DAMPING))
        self.probe = nn.Parameter(torch.full((action_size,), 0.5))

    @property
    def n_sums(self) -> int:
        """Numbers in the two sums, flattened."""
        o, a = self.shape
        return o * a + a * a

    @staticmethod
    def sums(changes: Float[Tensor, "*n t o"], actions: Float[Tensor, "*n t a"]) -> Float[Tensor, "*n t s"]:
        """What each step adds to the sums: change x action, then action x action."""
        cross = changes[..., :, None] * actions[..., None, :]
        power = actions[..., :, None] * actions[..., None, :]
        return torch.cat([cross.flatten(-2), power.flatten(-2)], -1)

    def fit(self, sums: Float[Tensor, "n s"], std: Float[Tensor, " o"]) -> None:
        """Take mean, basis and spread from the sums of n tasks."""
        (o, a), (cross, power) = self.shape, self._split(sums, std)
        # A task whose actions all pointed one way says nothing about the others: such tasks are left out.
        tried = torch.linalg.eigvalsh(power)[:, 0]
        known = tried >= tried.median()
        cross, power = cross[known], power[known]
        jacobians = torch.linalg.solve(power + 1e-6 * torch.eye(a), cross.transpose(1, 2)).transpose(1, 2)
        mean, rank = jacobians.mean(0), len(self.get_buffer("spread"))
        _, deviations, directions = torch.linalg.svd((jacobians - mean).flatten(1), full_matrices=False)
        found = min(rank, len(directions))  # few tasks differ in few directions
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("basis")[:found].copy_(directions[:found].unflatten(1, (o, a)))
        self.get_buffer("spread").fill_(SMALLEST_SPREAD)
        self.get_buffer("spread")[:found].copy_((deviations[:found].square() / len(jacobians)).clamp(SMALLEST_SPREAD))
        self.get_buffer("damping").copy_(DAMPING * jacobians.square().sum((1, 2)).mean() / a)

    def forward(
        self, sums: Float[Tensor, "*n s"], std: Float[Tensor, " o"]
    ) -> tuple[Float[Tensor, "*n o a"], Float[Tensor, "*n 1"]]:
        """The most probable Jacobian, and how much of what is to be known of it is known, 0 .. 1."""
        cross, power = self._split(sums, std)
        basis, spread = self.get_buffer("basis"), self.get_buffer("spread")
        mean = self.get_buffer("mean")
        gram = torch.einsum("roa,qob->rqab", basis, basis)
        precision = (
            torch.eye(len(spread), device=spread.device) / spread
            + torch.einsum("rqab,...ab->...rq", gram, power) / NOISE
        )
        unexplained = cross - torch.einsum("oa,...ab->...ob", mean, power)
        moments = torch.einsum("roa,...oa->...r", basis, unexplained) / NOISE
        covariance = torch.linalg.inv(precision)
        coefficients = torch.einsum("...rq,...q->...r", covariance, moments)
        trace = (covariance * torch.eye(len(spread), device=spread.device)).sum(-1).sum(-1, keepdim=True)
        left = trace / spread.sum()
        return mean + torch.einsum("...r,roa->...oa", coefficients, basis), 1 - left

    def act_through(
        self, wanted: Float[Tensor, "b z t o"], jacobian: Float[Tensor, "b t o a"], known: Float[Tensor, "b t 1"]
    ) -> Float[Tensor, "b z t a"]:
        """The action that changes the observation as wanted, as far as J is known; else a probe.

        Damped least squares (Wampler, 1986): a = (J'J + damping)^-1 J' wanted, scaled down in its direction
        where a component would leave [-1, 1].
        """
        back = jacobian.transpose(-1, -2)
        square = back @ jacobian + self.get_buffer("damping") * torch.eye(self.shape[1], device=back.device)
        inverse = torch.linalg.inv(square) @ back
        action = torch.einsum("btao,bzto->bzta", inverse, wanted)
        action = action / action.abs().amax(-1, keepdim=True).clamp(min=1)
        known = known[:, None]
        return known * action + (1 - known) * self.probe

    def _split(
        self, sums: Float[Tensor, "*n s"], std: Float[Tensor, " o"]
    ) -> tuple[Float[Tensor, "*n o a"], Float[Tensor, "*n a a"]]:
        o, a = self.shape
        cross, power = sums.float().split([o * a, a * a], -1)
        return cross.unflatten(-1, (o, a)) / std[:, None], power.unflatten(-1, (a, a))
