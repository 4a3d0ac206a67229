"""Bodies of the route that lists experiments."""

from pydantic import Field

from service.api.schemas.adaptations import NEXT_CURSOR, Body

_DECIDED = "Null: the training decides."


class ExperimentState(Body):
    """An experiment that this server can train, with the sizes of its training."""

    name: str = Field(description="Name of the experiment, which is `experiment` of a training job.")
    model: str = Field(description="Name of the model that it makes, unless the training job names another one.")
    family: str = Field(description="Family of tasks that the model is trained on.")
    suite: str | None = Field(
        description="Suite of held-out tasks (a manifest) that measures the model. Null if there is none."
    )
    n_tasks: int | None = Field(description=f"Number of training tasks. {_DECIDED}")
    demos_per_task: int = Field(description="Demonstrations that are collected per task.")
    batch_tasks: int = Field(description="Tasks in the batch of one gradient step.")
    minutes: float | None = Field(
        description="Most minutes that it takes, unless the training job says another number. Null: its steps decide."
    )
    steps: int | None = Field(
        description="Gradient steps in all, unless the training job says another number. "
        "Null: it ends when validation tasks are no longer solved better, within its minutes."
    )
    trials_per_task: int | None = Field(
        description=f"Largest number of its own trials that the policy collects per task. {_DECIDED}"
    )
    rounds: int | None = Field(description=f"Number of times that trials are collected and learnt from. {_DECIDED}")
    n_hypotheses: int | None = Field(
        description=f"Hypotheses about the task that the policy distributes its belief over. {_DECIDED}"
    )
    latent_dim: int | None = Field(description=f"Size of the vector that a context is encoded to. {_DECIDED}")


class ExperimentPage(Body):
    """A page of the experiments that this server can train. Empty if it runs no training jobs."""

    items: list[ExperimentState] = Field(description="Experiments, in the order of `wtl experiments`.")
    next_cursor: str | None = NEXT_CURSOR
