"""Bodies of the route that lists experiments."""

from pydantic import Field

from service.api.schemas.adaptations import NEXT_CURSOR, Body


class ExperimentState(Body):
    """An experiment that this server can train, with the sizes of its training."""

    name: str = Field(description="Name of the experiment, which is `experiment` of a training job.")
    model: str = Field(description="Name of the model that it makes, unless the training job names another one.")
    family: str = Field(description="Family of tasks that the model is trained on.")
    suite: str | None = Field(
        description="Suite of held-out tasks (a manifest) that measures the model. Null if there is none."
    )
    n_tasks: int = Field(description="Number of training tasks.")
    demos_per_task: int = Field(description="Demonstrations that are collected per task.")
    trials_per_task: int = Field(description="Largest number of its own trials that the policy collects per task.")
    rounds: int = Field(description="Number of times that trials are collected and learnt from.")
    steps: int = Field(description="Gradient steps in all, unless the training job says another number.")
    batch_tasks: int = Field(description="Tasks in the batch of one gradient step.")
    n_hypotheses: int = Field(description="Hypotheses about the task that the policy distributes its belief over.")
    latent_dim: int = Field(description="Size of the vector that a context is encoded to.")


class ExperimentPage(Body):
    """A page of the experiments that this server can train. Empty if it runs no training jobs."""

    items: list[ExperimentState] = Field(description="Experiments, in the order of `wtl experiments`.")
    next_cursor: str | None = NEXT_CURSOR
