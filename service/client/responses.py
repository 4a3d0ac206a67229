"""The answers of a server as frozen values. Fields that a newer server adds are ignored.

ClientError(WatchTryLearnError)   the server refused, or could not be reached
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self, TypeVar

from metalearn.data.episode import Episode
from metalearn.data.errors import WatchTryLearnError
from metalearn.data.quality import EpisodeQuality, QualityWarning

T = TypeVar("T")
_ENDED = frozenset({"succeeded", "failed", "stopped"})


class ClientError(WatchTryLearnError):
    """The server refused or could not be reached; `field`, `expected` and `got` say what was wrong.

    `status` is 0 where nothing was answered; `problem` is the whole RFC 9457 object.
    """

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        self.status: int = problem.get("status", 0)
        self.type: str = problem.get("type", "about:blank")
        self.detail: str = problem.get("detail", "")
        self.field: str | None = problem.get("field")
        self.expected: str | None = problem.get("expected")
        self.got: str | None = problem.get("got")
        super().__init__(f"{problem.get('title', 'request failed')}: {self.detail}")

    def __reduce__(self) -> tuple[type["ClientError"], tuple[dict[str, Any]]]:
        """Exceptions cross process borders."""
        return type(self), (self.problem,)


def of_answer(cls: type[T], answer: Mapping[str, Any], **more: Any) -> T:
    """Make a frozen value of those fields of an answer that it has. Raises ClientError: one is missing."""
    known = {one.name: one for one in fields(cls)}  # type: ignore[arg-type]
    given = {name: value for name, value in answer.items() if name in known} | more
    required = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING}
    if missing := sorted(required - set(given)):
        detail = f"{cls.__name__} without {', '.join(missing)}: is this a watch-try-learn server of this version?"
        raise ClientError({"title": "the answer is incomplete", "detail": detail})
    return cls(**given)


class ResponseModel:
    """A frozen value made of those fields of an answer that it has."""

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """From an answer. Raises ClientError: the server left something out."""
        return of_answer(cls, answer, **more)


@dataclass(frozen=True)
class Model(ResponseModel):
    """A model that the server offers. `example` is an episode that it accepts as a demo and as a trial.

    Attributes:
        aliases: those that point at this version now.
        runtime: what computes it at the server; None: it is loaded with the first request for it.
    """

    name: str
    version: int
    spec: Mapping[str, Any]
    report: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    example: Episode
    aliases: tuple[str, ...] = ()
    runtime: str | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """From a model card."""
        given = {**answer, "aliases": tuple(answer.get("aliases", ()))}
        return super().of(given, example=Episode.of(**answer["example"]), **more)


@dataclass(frozen=True)
class ModelVersion(ResponseModel):
    """One version of a model; `bundle` is the id of its bundle."""

    name: str
    version: int
    bundle: str
    registered_at: str
    aliases: tuple[str, ...] = ()
    runtime: str | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """From an entry of a list of versions."""
        return super().of({**answer, "aliases": tuple(answer.get("aliases", ()))}, **more)


@dataclass(frozen=True)
class AliasChange(ResponseModel):
    """One change of an alias; `version` is None where the alias was removed."""

    name: str
    alias: str
    version: int | None
    action: str
    at: str


@dataclass(frozen=True)
class Aliases:
    """The version of each alias of a model, and the history of the changes, the newest first."""

    current: Mapping[str, int]
    history: tuple[AliasChange, ...]


@dataclass(frozen=True, kw_only=True)
class JobState(ResponseModel):
    """A training job of the server. `state` is queued, running, succeeded, failed or stopped.

    Attributes:
        seed, steps, name: as they were asked for; None: the experiment's.
        stop_requested: whether it was asked to stop.
        backend: what runs it.
        attempt: how often it was started.
        progress: phase, done, total, and what was measured last; None before there is any.
        error: why it failed, in one sentence.
        model, model_version: the registered result.
    """

    id: str
    experiment: str
    seed: int | None = None
    steps: int | None = None
    name: str | None = None
    state: str
    stop_requested: bool = False
    backend: str | None = None
    attempt: int | None = None
    progress: Mapping[str, Any] | None
    error: str | None
    model: str | None
    model_version: int | None
    created_at: str
    started_at: str | None
    finished_at: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in _ENDED


@dataclass(frozen=True)
class JobEvent:
    """An event of a training job; numbers count from 1 without gaps.

    Attributes:
        kind: "state": `data` has `state`, and at the end `error`, or `model` and `model_version`; or "progress":
            `phase`, `done`, `total`, and where they were measured `loss`, `trial` and `retrial`.
        at: when, as ISO 8601.
    """

    number: int
    kind: str
    at: str
    data: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether it is the last one."""
        return self.kind == "state" and self.data.get("state") in _ENDED


@dataclass(frozen=True, kw_only=True)
class AdaptationState(ResponseModel):
    """One version of an adaptation.

    Attributes:
        confidence: calibrated probability that the next attempt succeeds; None where the model cannot say.
        value_of_trial: probability that the attempt after that one succeeds, minus `confidence`.
        novelty: 0 .. 1, how strange the demos are: 0.5 is typical, from 0.99 on like none of training.
        quality: how the episodes look that made this version, uploaded or recorded; empty where it was only read.
    """

    id: str
    model: str
    model_version: int
    version: int
    n_demos: int
    n_trials: int
    confidence: float | None = None
    value_of_trial: float | None = None
    novelty: float | None = None
    created_at: str
    expires_at: str
    quality: tuple[EpisodeQuality, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """From an answer, with the client that asked."""
        quality = tuple(_quality(entry) for entry in answer.get("quality") or ())
        return super().of({**answer, "quality": quality}, **more)


def _quality(entry: Mapping[str, Any]) -> EpisodeQuality:
    """One entry of `quality`."""
    lists = {name: tuple(entry.get(name, ())) for name in ("constant_actions", "constant_observations")}
    warnings = tuple(of_answer(QualityWarning, one) for one in entry.get("warnings", ()))
    return of_answer(EpisodeQuality, {**entry, **lists, "warnings": warnings})
