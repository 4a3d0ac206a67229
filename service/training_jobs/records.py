"""Training jobs as frozen values, and the lines of the journal that `wtl train` keeps. Knows no database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["queued", "running", "succeeded", "failed", "stopped"]
ACTIVE: tuple[State, ...] = ("queued", "running")
STATES: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "stopped")


@dataclass(frozen=True)
class JobRequest:
    """What a client wants trained; `id` and `name` may be left to us."""

    experiment: str
    seed: int | None = None
    steps: int | None = None
    name: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Job:
    """One training job. Times are seconds since 1970.

    Attributes:
        position: orders pages.
        uid: names its run's folder, and with the attempt its submission on a cluster.
        attempt: from 1; a run that was killed from outside is started again and resumes from its checkpoint.
        read_bytes: how much of its journal has become events.
        progress: the newest line of progress, or None.
    """

    position: int
    uid: str
    tenant: str
    id: str
    experiment: str
    seed: int | None
    steps: int | None
    name: str | None
    state: State
    backend: str
    host: str
    attempt: int
    stop_requested: bool
    created_at: float
    started_at: float | None
    finished_at: float | None
    read_bytes: int
    progress: Mapping[str, Any] | None
    error: str | None
    model: str | None
    model_version: int | None

    @property
    def active(self) -> bool:
        """Whether something may still happen to it."""
        return self.state in ACTIVE

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of `wtl train`, without where to."""
        seed = () if self.seed is None else ("--seed", str(self.seed))
        steps = () if self.steps is None else ("--steps", str(self.steps))
        return (self.experiment, *seed, *steps)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job; numbers count from 1 without gaps."""

    number: int
    kind: Literal["state", "progress"]
    at: float
    data: Mapping[str, Any]


@dataclass(frozen=True)
class LogLine:
    """One line of a journal."""

    kind: str
    at: float
    fields: Mapping[str, Any]

    @property
    def final(self) -> bool:
        """Whether the run said how it ended."""
        return self.kind in {"finished", "stopped", "failed"}

    @property
    def detail(self) -> str:
        """Why it ended so."""
        return str(self.fields.get("detail", ""))


def parse_event_log(text: bytes) -> list[LogLine]:
    """The whole lines in `text`; what is none of ours is passed over."""
    lines = []
    for raw in text.splitlines():
        try:
            value = json.loads(raw)
            lines.append(LogLine(str(value.pop("kind")), float(value.pop("at")), value))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return lines


def last_log_line(log: str) -> str:
    """The last thing that a log says, as a sentence for a client: no traceback, no paths of files in one."""
    said = [line.strip() for line in log.splitlines() if line.strip()]
    return said[-1].removeprefix("wtl: ")[:500] if said else ""
