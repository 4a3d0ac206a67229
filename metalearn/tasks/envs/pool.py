"""A pool of simulations of one MuJoCo model: making a simulation costs as much as tens of steps, so they are reused."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Simulation = TypeVar("Simulation")


class SimulationPool(Generic[Simulation]):
    """Simulations, made by `make` when none is free."""

    def __init__(self, make: Callable[[], Simulation]) -> None:
        self._make = make
        self._free: list[Simulation] = []

    def acquire(self, n: int) -> list[Simulation]:
        """`n` simulations in any state; released ones come first."""
        reused = [self._free.pop() for _ in range(min(n, len(self._free)))]
        return reused + [self._make() for _ in range(n - len(reused))]

    def release(self, simulations: Sequence[Simulation]) -> None:
        """Take `simulations` back for the next caller of `acquire`."""
        self._free.extend(simulations)
