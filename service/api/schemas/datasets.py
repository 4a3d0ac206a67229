"""Bodies of the routes of uploaded data sets."""

from typing import Annotated, Any

from pydantic import FailFast, Field

from metalearn.data.dataset import TaskRecord
from metalearn.data.errors import InvalidData
from metalearn.data.spec import Spec
from metalearn.data.values import numbers
from service.api.schemas.adaptations import NEXT_CURSOR, Actions, Body, Episodes


class TaskBody(Body):
    """One task: how it is shown, episodes to imitate, and scored attempts in their order."""

    task: str = Field(min_length=1, max_length=200, description="Name of the task, which no other task has.")
    demos: Episodes = Field([], description="Demonstrations of the task.")
    experts: Episodes = Field(min_length=1, description="Episodes to imitate, with their actions.")
    labels: list[Actions] = Field(
        [],
        description="For each of `experts` the actions to imitate in its states, if they are not those that were done.",
    )
    trials: Episodes = Field([], description="Scored attempts at the task, in their order.")

    def to_record(self, spec: Spec) -> TaskRecord:
        """Convert the body to a record. Raises InvalidData."""
        roles = {}
        for role in ("demos", "experts", "trials"):
            episodes = []
            for i, body in enumerate(getattr(self, role)):
                try:
                    episodes.append(body.to_episode(spec))
                except InvalidData as error:
                    raise error.within(f"{role}[{i}]") from error
            roles[role] = tuple(episodes)
        labels = tuple(numbers(f"labels[{i}]", one, discrete=True) for i, one in enumerate(self.labels))
        record = TaskRecord(self.task, roles["demos"], roles["experts"], labels, roles["trials"])
        return record.check(spec)


Tasks = Annotated[list[TaskBody], FailFast()]


class TasksRequest(Body):
    """Tasks to add to a data set."""

    tasks: Tasks = Field(min_length=1, description="Tasks with their episodes.")


class DatasetRequest(TasksRequest):
    """A data set: the spaces of its episodes, and its tasks or the first of them."""

    spec: dict[str, Any] = Field(
        description="Spaces, horizon and rate of the episodes, as model cards have them under `spec`."
    )


class DatasetState(Body):
    """An uploaded data set without its episodes."""

    name: str = Field(description="Name of the data set.")
    spec: dict[str, Any] = Field(description="Spaces, horizon and rate of its episodes.")
    n_tasks: int = Field(description="Number of tasks.")
    n_episodes: int = Field(description="Number of episodes of all tasks.")
    n_bytes: int = Field(description="Size of the stored episodes.")
    created_at: str = Field(description="Time of the first upload, ISO 8601 in UTC.")
    updated_at: str = Field(description="Time of the last upload, ISO 8601 in UTC.")


class DatasetPage(Body):
    """A page of uploaded data sets, oldest first."""

    items: list[DatasetState] = Field(description="Data sets.")
    next_cursor: str | None = NEXT_CURSOR


REQUESTS = (DatasetRequest, TasksRequest)
