"""Rows of adaptations, their versions and recorded episodes, as frozen values. Knows no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["demo", "trial"]


@dataclass(frozen=True)
class Adaptation:
    """One version of an adaptation, without its episodes. Times are seconds since 1970; `ask` is JSON."""

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


@dataclass(frozen=True)
class VersionRow:
    """What one version of an adaptation holds, and when it was made."""

    version: int
    n_demos: int
    n_trials: int
    scored: bool
    ask: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True)
class RecordingRow:
    """A recorded episode: the version it acts from and the hypothesis it committed to."""

    id: str
    adaptation: str
    version: int
    explore: bool
    hypothesis: int
    finished_as: int | None = None


@dataclass(frozen=True)
class FinishRecording:
    """That a recorded episode becomes a trial, as whoever ends it knows it."""

    recording: str
    n_steps: int


class StepConflict(Exception):
    """Another server has recorded a step of this number, or the episode takes no more: read it again."""
