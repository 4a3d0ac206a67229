"""The responses of a server as frozen values. Fields that a newer server adds are ignored.

ClientError(WatchTryLearnError)   the server refused, or could not be reached
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Self, TypeVar

import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import WatchTryLearnError
from metalearn.data.quality import EpisodeQuality, QualityWarning

T = TypeVar("T")
_ENDED = frozenset({"succeeded", "failed", "stopped"})


class ClientError(WatchTryLearnError):
    """The server refused a request or could not be reached.

    `status` is 0 if there was no response. `problem` is the whole RFC 9457 object, of which the other attributes are
    the fields.
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
        """Pickle the exception with its problem, for other processes."""
        return type(self), (self.problem,)

    def moved(self, role: str, start: int) -> "ClientError":
        """The same error about episodes that are counted from `start`, of which earlier requests held the others."""
        if not start:
            return self
        parts = {
            name: _moved(self.problem[name], role, start) for name in ("detail", "field") if self.problem.get(name)
        }
        if "detail" in parts:
            parts["detail"] += f" ({start} of the {role} had been added before)"
        return ClientError({**self.problem, **parts})


def _moved(text: str, role: str, start: int) -> str:
    """A text in which `demos[0]` of a later request is numbered as in the whole upload."""
    return re.sub(rf"\b{role}\[(\d{{1,9}})\]", lambda found: f"{role}[{int(found[1]) + start}]", text)


def of_answer(cls: type[T], answer: Mapping[str, Any], **more: Any) -> T:
    """Make a frozen value of those fields of an answer that it has. Raises ClientError: one is missing."""
    known = {one.name: one for one in fields(cls)}  # type: ignore[arg-type]
    given = {name: value for name, value in answer.items() if name in known} | more
    required = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING}
    if missing := sorted(required - set(given)):
        detail = f"{cls.__name__} without {', '.join(missing)}: is this a watch-try-learn server of this version?"
        raise ClientError({"title": "the response is incomplete", "detail": detail})
    return cls(**given)


class ResponseModel:
    """Base class of frozen values made of the fields of a response."""

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """Make the value from a response. Raises ClientError if a field is missing."""
        return of_answer(cls, answer, **more)


@dataclass(frozen=True)
class Model(ResponseModel):
    """One version of an available model. `example` is an episode that it accepts as a demonstration and as a trial.

    Attributes:
        aliases: the aliases that point at this version.
        runtime: the runtime on the server; None if the version is not loaded yet.
        asks: the kinds of ask that it was trained for: `kind`, `accepts`, `size`, `low`, `high`, `examples`, `encoder`.
    """

    name: str
    version: int
    spec: Mapping[str, Any]
    report: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    example: Episode
    aliases: tuple[str, ...] = ()
    runtime: str | None = None
    asks: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """Make the value from a model card."""
        given = {**answer, **{name: tuple(answer.get(name, ())) for name in ("aliases", "asks")}}
        return super().of(given, example=_example(answer), **more)


@dataclass(frozen=True, eq=False)
class Recognition(ResponseModel):
    """Who acted in some episodes.

    Attributes:
        best: name of the most probable candidate; None if it is none of them.
        enough_evidence: whether the best answer is 20 times as likely as the next one.
        n_steps: steps seen, of all episodes.
        calibrated: whether the probabilities were calibrated on validation tasks.
        without_actions: episodes whose actions were inferred.
        probabilities: of each candidate by name, and of `None`: that it was none of them.
        scores: for each of them and each episode `[t]`: the nats by which a step is likelier under it than under all
            on average.
    """

    best: str | None
    enough_evidence: bool
    n_steps: int
    calibrated: bool
    without_actions: int
    probabilities: Mapping[str | None, float]
    scores: Mapping[str | None, tuple[Array, ...]]

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """Make the value from a response."""
        rows = [(one.get("name"), one) for one in answer.get("candidates", ())] + [(None, answer.get("none") or {})]
        given = {
            **answer,
            "probabilities": {name: one.get("probability", 0.0) for name, one in rows},
            "scores": {name: tuple(np.asarray(s) for s in one.get("scores", ())) for name, one in rows},
        }
        return super().of(given, **more)


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
        """Make the value from an entry of a list of versions."""
        return super().of({**answer, "aliases": tuple(answer.get("aliases", ()))}, **more)


@dataclass(frozen=True)
class AliasChange(ResponseModel):
    """One change of an alias; `version` is None if the alias was deleted."""

    name: str
    alias: str
    version: int | None
    action: str
    at: str


@dataclass(frozen=True)
class Aliases:
    """The version of each alias of a model, and the history of changes, newest first."""

    current: Mapping[str, int]
    history: tuple[AliasChange, ...]


@dataclass(frozen=True, kw_only=True)
class ExperimentInfo(ResponseModel):
    """An experiment that a server can train.

    Attributes:
        name: the argument of `train`.
        model: the name of the model that it makes.
        family: the family of its tasks.
        suite: the manifest of held-out tasks that measures the model; None: there is none.
        n_tasks: the number of training tasks; None: the training decides.
        demos_per_task: the demonstrations that are collected per task.
        batch_tasks: the tasks in the batch of a gradient step.
        minutes, steps: how long it takes at most; None: the other of them decides.
        trials_per_task, rounds: the trials that the policy collects per task, and how many times it does; None, as in
            the next ones: the training decides.
        n_hypotheses, latent_dim: the sizes of the model.
    """

    name: str
    model: str
    family: str
    suite: str | None
    n_tasks: int | None
    demos_per_task: int
    batch_tasks: int
    minutes: float | None
    steps: int | None
    trials_per_task: int | None
    rounds: int | None
    n_hypotheses: int | None
    latent_dim: int | None


@dataclass(frozen=True, kw_only=True)
class JobState(ResponseModel):
    """A training job. `state` is queued, running, succeeded, failed or stopped.

    Attributes:
        dataset, family: what it trains on, if that is not the experiment's.
        seed, steps, minutes, name: the requested values; None: those of the experiment.
        settings: the requested values of other fields of the experiment, by name.
        stop_requested: True if a client has requested that the job stops.
        backend: the backend that runs the job.
        attempt: the number of starts.
        progress: phase, done, total, `ends_in_s`, and the last measurements; None before the first report.
        error: the reason of a failure, in one sentence.
        model, model_version: the registered model.
    """

    id: str
    experiment: str | None
    dataset: str | None = None
    family: str | None = None
    seed: int | None = None
    steps: int | None = None
    minutes: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
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
        """True if the job has ended."""
        return self.state in _ENDED


@dataclass(frozen=True)
class DatasetInfo(ResponseModel):
    """An uploaded data set, without its episodes."""

    name: str
    spec: Mapping[str, Any]
    n_tasks: int
    n_episodes: int
    n_bytes: int
    created_at: str
    updated_at: str


@dataclass(frozen=True)
class JobEvent:
    """An event of a training job; numbers count from 1 without gaps.

    Attributes:
        kind: "state" or "progress".
        at: the time, as ISO 8601.
        data: for "state" `state`, and at the end `error`, or `model` and `model_version`; for "progress" `phase`,
            `done`, `total`, and, where they are known, `ends_in_s`, `loss`, `trial` and `retrial`, and `success` after
            0, 1, 2, ... trials.
    """

    number: int
    kind: str
    at: str
    data: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """True for the last event of the job."""
        return self.kind == "state" and self.data.get("state") in _ENDED


@dataclass(frozen=True, kw_only=True)
class Origin(ResponseModel):
    """The version of an adaptation that a fork started from."""

    id: str
    version: int


@dataclass(frozen=True)
class BeliefState(ResponseModel):
    """What the policy believes of the task.

    Attributes:
        probabilities: of each of its hypotheses.
        entropy_bits: of the probabilities, in bits: 0 if one hypothesis is certain.
        success: how probably the next attempt succeeds under each behaviour that is to choose from, the hypotheses for
            what was shown and then as if nothing had been; None of a model that does not search.
    """

    probabilities: tuple[float, ...]
    entropy_bits: float
    success: tuple[float, ...] | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """Make the value from a part of a response."""
        shares = {name: answer.get(name) for name in ("probabilities", "success")}
        return super().of({**answer, **{name: some and tuple(some) for name, some in shares.items()}}, **more)


@dataclass(frozen=True, kw_only=True)
class AdaptationState(ResponseModel):
    """One version of an adaptation.

    Attributes:
        ask: what was asked for, by kind.
        ask_warnings: what of it is outside of what the model was trained for, and what it counts as.
        belief: what the policy believes of the task; None if the model is busy.
        confidence: the calibrated probability that the next attempt succeeds; None if the model is not calibrated.
        value_of_trial: the probability that the attempt after that one succeeds, minus `confidence`.
        forked_from: what it was forked from, if it is a fork.
        novelty: the novelty of the demonstrations, 0 to 1: 0.5 is typical, from 0.99 on they are unlike any known one.
        quality: the reports on the episodes that were added with this version; empty if it was only read.
    """

    id: str
    model: str
    model_version: int
    version: int
    n_demos: int
    n_trials: int
    ask: Mapping[str, Any] = field(default_factory=dict)
    ask_warnings: tuple[str, ...] = ()
    belief: BeliefState | None = None
    confidence: float | None = None
    value_of_trial: float | None = None
    novelty: float | None = None
    forked_from: Origin | None = None
    created_at: str
    expires_at: str
    quality: tuple[EpisodeQuality, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any], **more: Any) -> Self:
        """Make the value from a response."""
        quality = tuple(_quality(entry) for entry in answer.get("quality") or ())
        origin = None if answer.get("forked_from") is None else Origin.of(answer["forked_from"])
        belief = None if answer.get("belief") is None else BeliefState.of(answer["belief"])
        warnings = tuple(answer.get("ask_warnings") or ())
        told = {"quality": quality, "forked_from": origin, "belief": belief, "ask_warnings": warnings}
        return super().of({**answer, **told}, **more)

    def reported_after(self, earlier: tuple[EpisodeQuality, ...], role: str, start: int) -> Self:
        """The same version, with the reports of earlier requests in front, and its own numbered after them."""
        return replace(self, quality=earlier + tuple(_renumbered(one, role, start) for one in self.quality))


def _renumbered(report: EpisodeQuality, role: str, start: int) -> EpisodeQuality:
    warnings = tuple(replace(one, message=_moved(one.message, role, start)) for one in report.warnings)
    copy_of = None if report.duplicate_of is None else _moved(report.duplicate_of, role, start)
    return replace(report, episode=_moved(report.episode, role, start), duplicate_of=copy_of, warnings=warnings)


def _quality(entry: Mapping[str, Any]) -> EpisodeQuality:
    """One entry of `quality`."""
    lists = {name: tuple(entry.get(name, ())) for name in ("constant_actions", "constant_observations")}
    warnings = tuple(of_answer(QualityWarning, one) for one in entry.get("warnings", ()))
    return of_answer(EpisodeQuality, {**entry, **lists, "warnings": warnings})


def _example(card: Mapping[str, Any]) -> Episode:
    """The example of a card, with pixels as uint8 and choices as integers: JSON has one kind of number."""
    episode, spec = Episode.of(**card["example"]), card["spec"]
    plain = spec["observation_space"]["type"] == "box" and spec["observation_space"]["dtype"] != "uint8"
    if plain and spec["action_space"]["type"] in {"box", "discrete"}:
        return episode
    from metalearn.data.spec import Spec  # takes a while to import, and most models do not need it

    return Spec.from_json(dict(spec)).fit(episode)
