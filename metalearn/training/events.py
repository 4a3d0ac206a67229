"""The events that a training run sends to its listeners, and how it says that it was stopped. Imports no torch."""

from dataclasses import dataclass
from typing import Any

from metalearn.data.errors import WatchTryLearnError


class Stopped(WatchTryLearnError):
    """Training was asked to stop; its checkpoint is written, and the same command resumes from it."""


@dataclass(frozen=True)
class Event:
    """What a run does at a moment, how good what it has learnt is, and when it ends.

    Attributes:
        phase: `demonstrate`, `collect` or `train`, or the name of what follows the training.
        done: chunks or gradient steps that are done.
        total: how many there are.
        loss: the training loss.
        success: success rates on validation tasks after 0, 1, 2, ... trials; empty where they were not measured now.
        ends_in_s: estimated seconds until the policy is there, and while baselines are trained beside it until these
            are; None where nobody knows yet.
    """

    phase: str
    done: int
    total: int
    loss: float | None = None
    success: tuple[float, ...] = ()
    ends_in_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON, without what is not known. `trial` and `retrial` are `success` after 0 trials and after 1."""
        named = dict(zip(("trial", "retrial"), self.success, strict=False))
        figures = {"loss": self.loss, **named, "success": list(self.success) or None, "ends_in_s": self.ends_in_s}
        known = {name: value for name, value in figures.items() if value is not None}
        return {"phase": self.phase, "done": self.done, "total": self.total, **known}


def ignore_event(event: Event) -> None:
    """Do nothing: the listener of a run without listeners."""
