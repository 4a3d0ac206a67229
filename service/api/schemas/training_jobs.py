"""Bodies of the routes of training jobs."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from service.api.schemas.adaptations import NEXT_CURSOR, Body, Share

_SCALARS: list[dict[str, Any]] = [{"type": name} for name in ("boolean", "number", "string")]
SettingValue = Annotated[  # `service.training_jobs.admission` knows what each setting can be
    Any, WithJsonSchema({"anyOf": [*_SCALARS, {"type": "array", "items": {"anyOf": _SCALARS}}, {"type": "null"}]})
]
_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class TrainingJobRequest(Body):
    """What to meta-train: an experiment, a data set or a family. The bundle is the next version of model `name`."""

    experiment: str | None = Field(
        None,
        pattern=_NAME,
        description="Name of the experiment; `GET /v1/experiments` lists them. Absent: the usual settings, for the "
        "data set or the family.",
    )
    dataset: str | None = Field(
        None, pattern=_NAME, description="Name of an uploaded data set to train on, instead of collecting episodes."
    )
    family: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,199}:[A-Za-z_][A-Za-z0-9_]{0,99}$",
        description="Family of tasks as `module:Class`, of a module that the operator of the server has allowed.",
    )
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="Random seed, instead of the experiment's.")
    steps: int | None = Field(
        None, ge=10, le=10**8, description="Total number of gradient steps, instead of the experiment's."
    )
    minutes: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="Minutes that the training may take, instead of a number of steps. Not beside `steps`.",
    )
    settings: dict[str, SettingValue] = Field(
        {},
        max_length=100,
        description="Values of other fields of the experiment's configuration, by the names that `wtl settings` lists, "
        'as `{"model.n_frames": 16}`.',
    )
    name: str | None = Field(
        None,
        pattern=_NAME,
        description="Name of the model. That of the experiment, the data set or the family if absent.",
    )
    id: str | None = Field(
        None, pattern=_NAME, description="Id of the job, chosen by the client. The server makes one if absent."
    )


class TrainingProgress(Body):
    """The progress of the current phase of a training, and its last measurements."""

    phase: str = Field(description="Name of the current phase.")
    done: int = Field(description="Steps of the phase that are done.")
    total: int = Field(description="Steps of the phase in all.")
    loss: float | None = Field(None, description="Training loss. Null if this phase has none.")
    trial: Share | None = Field(None, description="Success rate of the first trial on held-out tasks, if measured.")
    retrial: Share | None = Field(None, description="Success rate of the second trial on held-out tasks, if measured.")
    success: list[Share] | None = Field(
        None, description="Success rates on held-out tasks after 0, 1, 2, ... trials, if measured."
    )
    ends_in_s: float | None = Field(
        None,
        description="Estimated seconds until the policy is there, and while baselines are trained until these are. "
        "Null if nobody knows yet.",
    )


class TrainingJobState(Body):
    """A training job without its log."""

    id: str = Field(description="Id of the job.")
    experiment: str | None = Field(description="Name of the experiment. Null if none was requested.")
    dataset: str | None = Field(description="Name of the data set that it trains on. Null: it collects episodes.")
    family: str | None = Field(description="Requested family of tasks. Null: that of the experiment, if any.")
    seed: int | None = Field(description="Requested random seed. Null: that of the experiment.")
    steps: int | None = Field(description="Requested number of gradient steps. Null: that of the experiment.")
    minutes: float | None = Field(description="Requested number of minutes. Null: none was requested.")
    settings: dict[str, SettingValue] = Field(description="Requested values of other fields, by their names.")
    name: str | None = Field(description="Requested name of the model. Null: that of the experiment.")
    state: Literal["queued", "running", "succeeded", "failed", "stopped"] = Field(description="State of the job.")
    stop_requested: bool = Field(description="True if a client has asked to stop the job.")
    backend: str = Field(description="Backend that runs the job: `local` or `ray`.")
    attempt: int = Field(description="Number of times that the training was started.")
    progress: TrainingProgress | None = Field(description="Progress of the training. Null before the first report.")
    error: str | None = Field(description="Reason of a failure in one sentence. Null unless the job has failed.")
    model: str | None = Field(description="Name of the model that the job made. Null unless it has succeeded.")
    model_version: int | None = Field(description="Version of that model. Null unless the job has succeeded.")
    created_at: str = Field(description="Time of creation, ISO 8601 in UTC.")
    started_at: str | None = Field(description="Time of the first start, ISO 8601 in UTC. Null before it.")
    finished_at: str | None = Field(description="Time of the end, ISO 8601 in UTC. Null until the job has ended.")


class TrainingJobPage(Body):
    """A page of training jobs."""

    items: list[TrainingJobState] = Field(description="Training jobs.")
    next_cursor: str | None = NEXT_CURSOR


class TrainingLog(Body):
    """The end of the log of a training."""

    text: str = Field(description="Last part of the output of the training.")


REQUESTS = (TrainingJobRequest,)
