"""Batch normalisation over the rows of all learners that take a step together, not of one of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


class GlobalBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose batch is the union of what the processes of `group` hold.

    With statistics of their own, two learners with half a batch each would learn something else than one learner
    with the whole of it. Sums are differentiable across processes: what a row does to the mean, it does to the
    loss of every process. Without a group, or with a group of one, it is `nn.BatchNorm1d` itself.
    (`nn.SyncBatchNorm` does this on GPUs only.)
    """

    group: dist.ProcessGroup | None = None

    def forward(self, input: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:  # noqa: A002 (torch's name)
        """Rows with zero mean and unit deviation over the global batch; by running statistics when evaluating."""
        if self.group is None or self.group.size() == 1 or not self.training:
            normalised: Tensor = super().forward(input)
            return normalised
        rows = input.to(torch.promote_types(input.dtype, torch.float32))  # of few bits, sums have more
        local = torch.cat([rows.sum(0), rows.new_tensor([len(rows)])])
        total, count = _added_up(local, self.group).split([rows.shape[1], 1])
        count = count.detach()
        mean = total / count
        centred = rows - mean
        variance = _added_up(centred.square().sum(0), self.group) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        return centred * (variance + self.eps).rsqrt()

    @torch.no_grad()
    def _remember(self, mean: Float[Tensor, " d"], variance: Float[Tensor, " d"]) -> None:
        assert self.momentum is not None
        self.get_buffer("running_mean").lerp_(mean, self.momentum)
        self.get_buffer("running_var").lerp_(variance, self.momentum)
        self.get_buffer("num_batches_tracked").add_(1)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Meanwhile `module` evaluates: rows are normalised by running statistics, and leave no trace in them."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


class _AddUp(torch.autograd.Function):
    """y = sum over processes of x. Of L = sum of the processes' losses, dL/dx = sum over processes of dL_p/dy."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        total = tensor.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _added_up(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    total: Tensor = _AddUp.apply(tensor, group)
    return total
