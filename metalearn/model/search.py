"""What to try next: which of a policy's behaviours solve this task, from which of them solve the same tasks.

Filled by `metalearn.training.searching` with what a trained policy achieved; knows neither episodes nor environments.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

ODD = 0.05  # how often an attempt goes otherwise than another one under the same behaviour in the same task
MISLED = 0.1  # how often a demonstration is of something else than the task


class Search(nn.Module):
    """Remembers n tasks and which of 2 z behaviours solved each, and weighs those that agree with what was tried.

    Behaviours are the z hypotheses as something was shown, and again as if nothing had been: a demonstration may
    mislead. The new task is taken for one of those that are remembered, or for one of them with a demonstration of
    something else, which no behaviour of the first kind solves (Bayes' rule). To begin with all are as probable, but
    for how well they agree with p(z | context), as far as that is to be trusted.

    Args:
        n_tasks: that are remembered.
        n_hypotheses: z.
        latent_size: of the latent of a context.
    """

    def __init__(self, n_tasks: int, n_hypotheses: int, latent_size: int) -> None:
        super().__init__()
        self.n_hypotheses = n_hypotheses
        self.register_buffer("solved", torch.zeros(n_tasks, 2 * n_hypotheses))
        self.register_buffer("trust", torch.zeros(()))
        self.register_buffer("nothing_shown", torch.zeros(latent_size))

    def forward(
        self,
        probabilities: Float[Tensor, "b z"],
        shown: Float[Tensor, "b 1"],
        failed: Float[Tensor, "b y"],
        succeeded: Float[Tensor, "b y"],
    ) -> tuple[Float[Tensor, "b y"], Float[Tensor, "b y"]]:
        """How probably the next attempt under each behaviour succeeds, and what trying it is worth.

        Worth is the expected number of successes of this attempt and the next one, if that is the best one after it.

        Args:
            probabilities: p(z | context).
            shown: 1 where there is a demonstration, else 0; then behaviours of the first kind are not available.
            failed: how many attempts under each behaviour did, in fractions where it is unclear.
            succeeded: likewise.
        """
        as_shown, otherwise = self.solves.split(self.n_hypotheses, -1)
        misled = torch.cat([torch.full_like(as_shown, ODD), otherwise], -1)
        solves = torch.cat([self.solves, misled])
        agrees = (self.agreement(probabilities) * self.get_buffer("trust") * shown).log_softmax(-1)
        agrees = agrees + math.log(len(self.get_buffer("solved")))
        prior = torch.cat([agrees + math.log(1 - MISLED), torch.zeros_like(agrees) + math.log(MISLED)], -1)
        weights = (prior + failed @ (1 - solves).log().T + succeeded @ solves.log().T).softmax(-1)
        available = torch.cat([shown.expand(-1, self.n_hypotheses), torch.ones_like(probabilities)], -1)
        success, misses = weights @ solves, 1 - solves
        # That one of two fails and then the other: in each remembered task, then over them.
        both_fail = (weights[:, None] * misses.T) @ misses
        either = (1 - both_fail) * available[:, None]
        return success * available, (success + either.amax(-1)) * available

    def agreement(self, probabilities: Float[Tensor, "b z"]) -> Float[Tensor, "b n"]:
        """The logarithm of how well p(z | context) agrees with what solved each remembered task."""
        return (probabilities @ self.solves[:, : self.n_hypotheses].T).log()

    @property
    def solves(self) -> Float[Tensor, "n y"]:
        """How probably an attempt under each behaviour solves each remembered task."""
        return self.get_buffer("solved") * (1 - 2 * ODD) + ODD
