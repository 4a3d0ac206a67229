"""The events that a training run sends to its listeners, and how it says that it was stopped. Imports no torch."""

from dataclasses import dataclass

from metalearn.data.errors import WatchTryLearnError


class Stopped(WatchTryLearnError):
    """Training was asked to stop; its checkpoint is written, and the same command resumes from it."""


@dataclass(frozen=True)
class Event:
    """Progress of one phase of a run, with the metrics that were measured at that moment.

    Attributes:
        phase: `demonstrate`, `collect` or `train`, or the name of what follows the training.
        done: chunks or gradient steps that are done.
        total: how many there are.
        loss: the training loss.
        trial: success rate of first trials on validation tasks.
        retrial: success rate of second trials on validation tasks.
    """

    phase: str
    done: int
    total: int
    loss: float | None = None
    trial: float | None = None
    retrial: float | None = None


def ignore_event(event: Event) -> None:
    """Do nothing: the listener of a run without listeners."""
