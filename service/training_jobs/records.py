"""Training jobs as frozen values, and the event log that `wtl train` writes. Knows no database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "succeeded", "failed", "stopped"]
DATASET = "uploaded"
"""Folder of the data set in the folder of a run."""
ACTIVE: tuple[State, ...] = ("queued", "running")
STATES: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "stopped")


@dataclass(frozen=True)
class JobRequest:
    """A training that a client requests; the server chooses `id` and `name` if they are None.

    `experiment` is empty where only a data set, or a family of the client's own as `module:Class`, says what to train.
    """

    experiment: str
    seed: int | None = None
    steps: int | None = None
    name: str | None = None
    id: str | None = None
    dataset: str | None = None
    family: str | None = None
    minutes: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One training job. Times are seconds since 1970.

    Attributes:
        position: the order of jobs on pages.
        uid: the name of the folder of the run, and with the attempt that of the submission to a cluster.
        attempt: the number of the attempt, from 1; a killed run is started again and resumes from its checkpoint.
        read_bytes: the bytes of the event log of the run that have become events.
        progress: the newest progress, or None.
        settings: values of other fields of the experiment, by their dotted names.
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
    dataset: str | None = None
    family: str | None = None
    minutes: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> JobRequest:
        """What the client requested."""
        return JobRequest(
            self.experiment, self.seed, self.steps, self.name, self.id, self.dataset, self.family, self.minutes,
            self.settings,
        )  # fmt: skip

    @property
    def active(self) -> bool:
        """True while the job is queued or running."""
        return self.state in ACTIVE

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of `wtl train`, without the output folder."""
        seed = () if self.seed is None else ("--seed", str(self.seed))
        steps = () if self.steps is None else ("--steps", str(self.steps))
        minutes = () if self.minutes is None else ("--minutes", str(self.minutes))
        experiment = (self.experiment,) if self.experiment else ()
        family = () if self.family is None else ("--family", self.family)
        settings = (part for name, value in self.settings.items() for part in ("--set", f"{name}={json.dumps(value)}"))
        return (*experiment, *seed, *steps, *minutes, *family, *settings)

    def arguments_in(self, folder: Path) -> tuple[str, ...]:
        """All arguments of `wtl train` for a run in this folder, which holds a copy of the data set."""
        data = () if self.dataset is None else ("--dataset", str(folder / DATASET))
        return (*self.arguments, *data, "--out", str(folder))


@dataclass(frozen=True)
class Event:
    """An event of a job; numbers count from 1 without gaps."""

    number: int
    kind: Literal["state", "progress"]
    at: float
    data: Mapping[str, Any]


@dataclass(frozen=True)
class LogLine:
    """One line of the event log of a run."""

    kind: str
    at: float
    fields: Mapping[str, Any]

    @property
    def final(self) -> bool:
        """True if the line reports the end of the run."""
        return self.kind in {"finished", "stopped", "failed"}

    @property
    def detail(self) -> str:
        """The reason of the end."""
        return str(self.fields.get("detail", ""))


def parse_event_log(text: bytes) -> list[LogLine]:
    """Parse the lines of an event log; invalid lines are ignored."""
    lines = []
    for raw in text.splitlines():
        try:
            value = json.loads(raw)
            lines.append(LogLine(str(value.pop("kind")), float(value.pop("at")), value))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return lines


def last_log_line(log: str) -> str:
    """Return the last line of a log, for a client: the line after a traceback, without its file paths."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1].removeprefix("wtl: ")[:500] if lines else ""
