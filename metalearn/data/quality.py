"""The quality of an uploaded episode as frozen values: the one list of its fields, for reports, the API and the client.

How they are found is in `metalearn.quality`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


def _described(description: str) -> Any:
    """A field with the description that the OpenAPI document gives it."""
    return field(metadata={"description": description})


@dataclass(frozen=True)
class QualityWarning:
    """A warning about an episode that is probably not what its sender intended."""

    code: str = _described("Stable code of the warning, for programs.")
    message: str = _described("The warning as a sentence, for people.")


@dataclass(frozen=True)
class EpisodeQuality:
    """A quality report on one uploaded or recorded episode. No episode is refused because of its report."""

    episode: str = _described("Position of the episode in the upload, such as `demos[0]`.")
    steps: int = _described("Number of steps.")
    horizon: int = _described("Largest number of steps that the model accepts.")
    rate_hz: float = _described("Control rate of the recording if the request has one, else that of the model.")
    duration_s: float = _described("Duration at this rate, in seconds.")
    clipped: float | None = _described(
        "Share of the action components, 0 to 1, that are at a bound of the action space. Null without bounded actions."
    )
    constant_actions: tuple[int, ...] = _described("Indices of the action components that never change.")
    constant_observations: tuple[int, ...] = _described(
        "Indices of the observation components that never change, in the vector of all parts. Empty for images."
    )
    duplicate_of: str | None = _described(
        "Position of the same episode earlier in the upload, such as `demos[0]`, or `stored` if the tenant had "
        "uploaded it before. Null if the episode is new."
    )
    total_reward: float | None = _described("Sum of the rewards. Null if the episode has none.")
    success: bool | None = _described("Outcome of the episode. Null if it is not known.")
    novelty: float | None = _described(
        "Quantile of a demonstration among those of the validation tasks, 0 to 1. Null if it is not known."
    )
    warnings: tuple[QualityWarning, ...] = _described("Warnings about the episode. Empty if there are none.")


def remarked(
    reports: Iterable[EpisodeQuality], remarks: Mapping[str, Sequence[Sequence[QualityWarning]]]
) -> tuple[EpisodeQuality, ...]:
    """Reports with what a reader has to say about the same episodes, by their role and in their order, in front."""
    known = {f"{role}[{i}]": tuple(own) for role, many in remarks.items() for i, own in enumerate(many)}
    return tuple(replace(one, warnings=known.get(one.episode, ()) + one.warnings) for one in reports)
