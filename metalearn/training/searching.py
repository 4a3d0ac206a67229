"""Learning what an attempt's failure says of the other hypotheses, from attempts of the trained policy.

The policy stays as it is. Attempts are in tasks that it was not trained on: in its own it knows some answers by heart.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.model.search import Search
from metalearn.training.collect import Snapshot, chunked

PENALTY = 1.0  # of the squared distance from where nothing is known, beside one nat of an outcome
AT_ONCE = 256  # contexts
MOST_ITERATIONS = 200


def fit_search(
    policy: Snapshot, spec: Spec, contexts: Sequence[Context], attempts: Sequence[Sequence[Episode]]
) -> Snapshot | None:
    """The same policy, which searches; None where every attempt succeeded, or none, or nobody says.

    Logistic regression of outcomes on log p(z | context) and on the attempts before, under each hypothesis.

    Args:
        policy: with several hypotheses, and no search yet.
        spec: of its tasks.
        contexts: of the first attempt in each task.
        attempts: in each task, in order, under whatever hypotheses.
    """
    inference = Inference(ConditionalPolicy.from_weights(policy.model, spec, policy.weights), spec)
    situations = [
        (context.with_trial(*of_task[:n]), attempt)
        for context, of_task in zip(contexts, attempts, strict=True)
        for n, attempt in enumerate(of_task)
        if attempt.success is not None and attempt.actions is not None
    ]
    succeeded = torch.tensor([float(bool(attempt.success)) for _, attempt in situations])
    if not 0 < succeeded.sum() < len(succeeded):
        return None
    known = [inference.situations(piece) for piece in chunked(situations, AT_ONCE)]
    search = Search(policy.model.n_hypotheses)
    log_prior, failed, repeated, under = (torch.cat(part) for part in zip(*known, strict=True))
    _fit(search, (log_prior, failed, repeated), under, succeeded)
    weights = {f"search.{name}": value.detach().numpy().copy() for name, value in search.state_dict().items()}
    return Snapshot(policy.model.model_copy(update={"search": True}), policy.weights | weights, policy.version)


def _fit(
    search: Search,
    known: tuple[Float[Tensor, "n z"], Float[Tensor, "n z"], Float[Tensor, "n z"]],
    under: Float[Tensor, "n z"],
    succeeded: Float[Tensor, " n"],
) -> None:
    """`under` is p(z) of the attempt whose outcome is to be foretold."""
    start = [parameter.detach().clone() for parameter in search.parameters()]
    optimiser = torch.optim.LBFGS(search.parameters(), max_iter=MOST_ITERATIONS, line_search_fn="strong_wolfe")
    outcomes = succeeded[:, None].expand_as(under)

    def loss() -> Tensor:
        optimiser.zero_grad()
        log_odds = search(*known)
        surprise = functional.binary_cross_entropy_with_logits(log_odds, outcomes, under, reduction="sum")
        away = sum((now - then).square().sum() for now, then in zip(search.parameters(), start, strict=True))
        total = surprise + 0.5 * PENALTY * away
        total.backward()
        return total

    optimiser.step(loss)
