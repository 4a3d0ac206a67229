"""The quality of an uploaded episode as frozen values: the one list of its fields, for reports, the API and the client.

How they are found is in `metalearn.quality`.
"""

from dataclasses import dataclass, field
from typing import Any


def _described(description: str) -> Any:
    """A field with the description that the OpenAPI document gives it."""
    return field(metadata={"description": description})


@dataclass(frozen=True)
class QualityWarning:
    """Something in an episode that is probably not meant."""

    code: str = _described("a stable name of the warning")
    message: str = _described("a sentence for a person")


@dataclass(frozen=True)
class EpisodeQuality:
    """The looks of one uploaded or recorded episode. Nothing of it is a reason for refusal."""

    episode: str = _described("name of the episode within the upload, as `demos[0]`")
    steps: int = _described("number of actions")
    horizon: int = _described("the most steps that an episode of the model has")
    rate_hz: float = _described("control rate of the recording if it was given, else of the model")
    duration_s: float = _described("steps divided by the rate")
    clipped: float | None = _described("share of the actions' numbers at a bound, 0 to 1; null without bounded actions")
    constant_actions: tuple[int, ...] = _described("components of the action that never change")
    constant_observations: tuple[int, ...] = _described("components that never change; empty for images")
    duplicate_of: str | None = _described("`demos[0]` of the same upload, or `stored`")
    total_reward: float | None = _described("sum of the rewards; null without rewards")
    success: bool | None = _described("whether the episode solved its task, as the client said")
    novelty: float | None = _described(
        "quantile of a demo among those of the model's validation tasks, 0 to 1; null if not known"
    )
    warnings: tuple[QualityWarning, ...] = _described("what is probably not meant")
