"""Rows of adaptations, their versions and recorded episodes, as frozen values. Knows no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["demo", "trial"]


@dataclass(frozen=True)
class Adaptation:
    """One version of an adaptation, without its episodes. Times are seconds since 1970; `ask` is JSON.

    `origin` and `origin_version` are what it was forked from, if it is a fork.
    """

    id: str
    tenant: str
    model: str
    model_version: int
    version: int
    n_demos: int
    n_trials: int
    scored: bool
    ask: Mapping[str, Any]
    created_at: float
    expires_at: float
    origin: str | None = None
    origin_version: int | None = None


@dataclass(frozen=True)
class Wanted:
    """What a list of adaptations is about.

    Attributes:
        model: the name of their model; None: any.
        search: the beginning of their id, or a part of the name of their model; empty: any.
        newest_first: True to begin with the newest one.
    """

    model: str | None = None
    search: str = ""
    newest_first: bool = False


EVERYTHING = Wanted()
"""All adaptations, oldest first."""


@dataclass(frozen=True)
class Member:
    """An episode of an adaptation: the version that added it, its role, and its place among those of this role."""

    role: Role
    index: int
    since: int
    digest: str


@dataclass(frozen=True)
class VersionRow:
    """The contents of one version of an adaptation. Times are seconds since 1970."""

    version: int
    n_demos: int
    n_trials: int
    scored: bool
    ask: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True)
class RecordingRow:
    """A recorded episode: the version that acts, and the one hypothesis that it acts under."""

    id: str
    adaptation: str
    version: int
    explore: bool
    hypothesis: int
    finished_as: int | None = None


@dataclass(frozen=True)
class FinishRecording:
    """A request to finish a recorded episode, which has `n_steps` steps as far as the caller knows."""

    recording: str
    n_steps: int


class StepConflict(Exception):
    """Another server has recorded this step, or finished the episode: read the episode again."""
