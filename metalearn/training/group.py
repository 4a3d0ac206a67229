"""Data-parallel learners. Every rank runs the same loop; rank 0 also does what has to
be done once (collecting, evaluating, writing) and broadcasts the result.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@runtime_checkable
class Group(Protocol):
    """A group of `size` learners; this one has number `rank`."""

    rank: int
    size: int

    @property
    def processes(self) -> dist.ProcessGroup | None:
        """The process group that gradients are averaged over; None for a single process."""
        ...

    def run_on_rank_zero(self, work: Callable[[], T]) -> T:
        """Run `work` on rank 0 alone; return its result, or raise its error, on every rank."""
        ...

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Sum each number over all ranks."""
        ...


class SingleProcess:
    """A single process."""

    rank, size, processes = 0, 1, None

    def run_on_rank_zero(self, work: Callable[[], T]) -> T:
        """Run `work`."""
        return work()

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Return the numbers as they are."""
        return numbers


class ProcessGroup:
    """The ranks of torch's default process group, which must be initialised."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.processes = dist.group.WORLD
        assert self.processes is not None

    def run_on_rank_zero(self, work: Callable[[], T]) -> T:
        """Run `work` on rank 0 alone; return its result, or raise its error, on every rank."""
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
        """Sum each number over all ranks."""
        sums: Tensor = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return tuple(sums.tolist())
