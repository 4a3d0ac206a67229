"""Bodies of the route that reads the episodes of an adaptation."""

from typing import Any, Literal

from pydantic import Field

from metalearn.data.quality import EpisodeQuality
from service.api.schemas.adaptations import NEXT_CURSOR, Actions, Body, Observations, Rewards


class StoredEpisode(Body):
    """An episode of an adaptation, with as many of its steps as the request asked for."""

    role: Literal["demo", "trial"] = Field(description="Whether it is a demonstration or a trial.")
    index: int = Field(description="Its place among those of its role, from 0.")
    since: int = Field(description="Version of the adaptation that added it.")
    length: int = Field(description="Number of steps of the whole episode, t.")
    steps: list[int] = Field(description="Steps of the observations that are here, from 0 to t.")
    picture_steps: list[int] = Field(description="Steps of the pictures that are here. Empty if there are none.")
    observations: Observations = Field(
        description="Observations at `steps`, or those of each part by name. Pictures are PNGs at `picture_steps`, "
        "shrunk to at most 84 pixels a side; of frames in a stack the last one."
    )
    actions: Actions | None = Field(description="Actions at `steps`, without the last one. Null if it has none.")
    rewards: Rewards | None = Field(description="Rewards at `steps`, without the last one. Null if it has none.")
    success: bool | None = Field(description="Outcome of the episode. Null if it is not known.")
    quality: EpisodeQuality = Field(description="Quality report on the episode.")


class StoredEpisodePage(Body):
    """A page of the episodes of an adaptation, in the order in which they came."""

    items: list[StoredEpisode] = Field(description="Episodes of this version.")
    next_cursor: str | None = NEXT_CURSOR


def in_steps(array: Any) -> Any:
    """Lists of numbers, those of float32 with the fewest digits that read back as the same."""
    return (array.astype("U32").astype(float) if array.dtype.name == "float32" else array).tolist()
