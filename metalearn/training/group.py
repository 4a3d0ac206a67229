"""Learners that take each step together. Every one of them runs the same loop; the first one also does what is to
be done once (collecting, measuring, writing), and tells the others what came of it.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@runtime_checkable
class Group(Protocol):
    """`size` learners, of which this one is number `rank`."""

    rank: int
    size: int

    @property
    def processes(self) -> dist.ProcessGroup | None:
        """What torch averages gradients over; None: this learner alone."""
        ...

    def run_on_rank_zero(self, work: Callable[[], T]) -> T:
        """What `work()` returned, or raised, in learner 0. It is run there alone."""
        ...

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Each number, summed over the learners."""
        ...


class SingleProcess:
    """One learner."""

    rank, size, processes = 0, 1, None

    def run_on_rank_zero(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises."""
        return work()

    def total(self, *numbers: float) -> tuple[float, ...]:
        """The numbers."""
        return numbers


class ProcessGroup:
    """The processes of torch's default process group, which has to be there."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.processes = dist.group.WORLD
        assert self.processes is not None

    def run_on_rank_zero(self, work: Callable[[], T]) -> T:
        """What `work` returned or raised in learner 0."""
        outcome: list[T | Exception | None] = [None]
        if self.rank == 0:
            try:
                outcome = [work()]
            except Exception as error:
                outcome = [error]
        dist.broadcast_object_list(outcome, src=0)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return cast("T", outcome[0])

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Each number, summed over the learners."""
        sums: Tensor = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return tuple(sums.tolist())
