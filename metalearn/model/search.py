"""What to try next: which of a policy's behaviours solve this task, from which of them solve the same tasks.

Filled by `metalearn.training.searching` with what a trained policy achieved; knows neither episodes nor environments.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

ODD = 0.05  # how often an attempt goes otherwise than another one under the same behaviour in the same task


class Search(nn.Module):
    """Remembers n tasks and which of 2 z behaviours solved each, and weighs those that agree with what was tried.

    Behaviours are the z hypotheses as something was shown, and again as if nothing had been: a demonstration may
    mislead. The new task is taken for one of those that are remembered (Bayes' rule; all are as probable to begin with,
    but for how well they agree with p(z | context), as far as that is to be trusted).

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
        solves = self.solves
        evidence = failed @ (1 - solves).log().T + succeeded @ solves.log().T
        agrees = (probabilities @ solves[:, : self.n_hypotheses].T).log()
        weights = (evidence + self.get_buffer("trust") * shown * agrees).softmax(-1)
        available = torch.cat([shown.expand(-1, self.n_hypotheses), torch.ones_like(probabilities)], -1)
        success, misses = weights @ solves, 1 - solves
        # That one of two fails and then the other: in each remembered task, then over them.
        both_fail = (weights[:, None] * misses.T) @ misses
        either = (1 - both_fail) * available[:, None]
        return success * available, (success + either.amax(-1)) * available

    @property
    def solves(self) -> Float[Tensor, "n y"]:
        """How probably an attempt under each behaviour solves each remembered task."""
        return self.get_buffer("solved") * (1 - 2 * ODD) + ODD
