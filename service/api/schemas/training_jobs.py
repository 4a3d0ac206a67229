"""Training jobs, as they travel."""

from typing import Literal

from pydantic import Field

from service.api.schemas.adaptations import Body, Share

_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class TrainingJobRequest(Body):
    """Meta-train a named experiment, and offer its bundle as the next version of model `name`."""

    experiment: str = Field(pattern=_NAME, examples=["reach-m2"])
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="another than the usual one")
    steps: int | None = Field(None, ge=10, le=10**8, description="gradient steps in all, instead of the usual")
    name: str | None = Field(None, pattern=_NAME, description="the experiment's if absent")
    id: str | None = Field(None, pattern=_NAME, description="the client's; ours if absent")


class TrainingProgress(Body):
    """How far the present phase is, and what was measured last: loss, success of a trial and of the retrial."""

    phase: str
    done: int
    total: int
    loss: float | None = None
    trial: Share | None = None
    retrial: Share | None = None


class TrainingJobState(Body):
    """A training job; `error` says in one sentence why it failed, `model` and `model_version` what it made."""

    id: str
    experiment: str
    seed: int | None
    steps: int | None
    name: str | None
    state: Literal["queued", "running", "succeeded", "failed", "stopped"]
    stop_requested: bool
    backend: str
    attempt: int
    progress: TrainingProgress | None
    error: str | None
    model: str | None
    model_version: int | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class TrainingJobPage(Body):
    """Some training jobs, oldest first, and where to go on."""

    items: list[TrainingJobState]
    next_cursor: str | None


class TrainingLog(Body):
    """The end of what a training printed."""

    text: str


REQUESTS = (TrainingJobRequest,)
