"""Which hypothesis to try next: how likely an attempt under each of them succeeds, after those that failed.

Fitted to what a trained policy achieved (`metalearn.training.searching`); knows neither episodes nor environments.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

IMPROBABLE = 0.01  # how much less probable a hypothesis is than this says no more of its success


class Search(nn.Module):
    """The log-odds that an attempt under each hypothesis succeeds, linear in what is known of the task.

    p(z | context) says which behaviour an expert would show. Of two hypotheses whose attempts succeed in many of the
    same tasks the other one is worth little once one of them has failed, and the one that succeeds most often is worth
    more than the most probable one: that is learnt from outcomes. To begin with the order is that of p(z | context).
    """

    def __init__(self, n_hypotheses: int) -> None:
        super().__init__()
        self.believed = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(n_hypotheses))
        self.refuted = nn.Parameter(torch.zeros(n_hypotheses, n_hypotheses))
        self.repeated = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        log_prior: Float[Tensor, "b z"],
        failed: Float[Tensor, "b z"],
        succeeded: Float[Tensor, "b z"],
    ) -> Float[Tensor, "b z"]:
        """`failed`, `succeeded`: how many attempts under each hypothesis did, in fractions where it is unclear."""
        log_prior = (log_prior.exp() + IMPROBABLE).log()
        return self.believed * log_prior + self.offset + failed @ self.refuted + self.repeated * succeeded
