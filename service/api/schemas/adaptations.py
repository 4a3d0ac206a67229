"""What travels over the request, strictly: strings and booleans are not numbers, unknown fields are refused.

Turns bodies into data types, given a spec. Knows neither bytes nor HTTP. Models are in `cards`, training jobs in
`jobs.schemas`.
"""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode, check_finite, numbers
from metalearn.data.errors import InvalidData
from metalearn.data.quality import EpisodeQuality
from metalearn.data.spec import Spec

LARGEST = 1e9
"""Far beyond what a model has seen, and far from where float32 overflows inside one."""


def _list_or_array(value: Any) -> Any:
    """Numbers stay as they came: one numpy pass converts and checks them when the spec is known."""
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim > 0):
        return value
    raise PydanticCustomError("numbers", "a list of numbers")


def _described(meaning: str, items: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "description": meaning, "items": items})


_NUMBER = {"type": "number"}
_ACTION = {"anyOf": [{"type": "array", "items": _NUMBER}, {"type": "integer"}]}
_Numbers = Annotated[Any, PlainValidator(_list_or_array)]
Observations = Annotated[_Numbers, _described("[n, ...o] numbers", {"type": "array", "items": {}})]
Observation = Annotated[_Numbers, _described("[...o] numbers", {})]
Actions = Annotated[_Numbers, _described("[t, a] numbers, or [t] integers where actions are discrete", _ACTION)]
Rewards = Annotated[_Numbers, _described("[t] numbers", _NUMBER)]
Share = Annotated[float, Field(ge=0, le=1)]
Reward = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Rate = Annotated[float | None, Field(gt=0, le=1e6, allow_inf_nan=False)]
AskBody = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "null"}]})]


MOST_FIELDS = 50


class Body(BaseModel):
    """A value on the request."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        # An error for each of millions of unknown fields would fill the memory.
        if isinstance(value, dict) and len(value) > MOST_FIELDS:
            raise PydanticCustomError("fields", f"no fields but {', '.join(cls.model_fields)}")
        return value


class EpisodeBody(Body):
    """One episode: t actions between t + 1 observations."""

    observations: Observations
    actions: Actions | None = None
    rewards: Rewards | None = None
    success: bool | None = None

    def to_episode(self, spec: Spec) -> Episode:
        """The episode. Raises InvalidData."""
        # Before any number is converted: a list of a million steps costs nothing to refuse.
        if len(self.observations) > spec.horizon + 1:
            n_steps = len(self.observations) - 1
            raise InvalidData("observations", f"at most {spec.horizon} steps", f"{n_steps} steps")
        observations = pixels("observations", self.observations, spec)
        episode = spec.check(Episode.of(observations, self.actions, self.rewards, self.success))
        for name, array in episode.arrays().items():
            check_size(name, array)
        return episode


# The first wrong one is enough: an error for each of millions would fill the memory.
Episodes = Annotated[list[EpisodeBody], FailFast()]


class AdaptationRequest(Body):
    """Watch: which model, what it is shown, and its own trials so far."""

    model: str = Field(min_length=1, max_length=200, examples=["reach", "reach@3", "reach@stable"])
    demos: Episodes
    trials: Episodes = []
    ask: AskBody = Field(None, description="beyond the task itself, by kind; kinds that the model was trained for")
    rate_hz: Rate = Field(None, description="of the recording, to be compared with the model's")

    def to_context(self, spec: Spec, asks: Collection[str] = ()) -> Context:
        """The context, for a model with this spec that was trained for these kinds of ask. Raises InvalidData."""
        ask = Ask.from_json(self.ask)
        ask.check(asks)
        return Context(to_episodes("demos", self.demos, spec), to_episodes("trials", self.trials, spec), ask)


class DemosRequest(Body):
    """More demonstrations."""

    demos: Episodes = Field(min_length=1)
    rate_hz: Rate = Field(None, description="of the recording, to be compared with the model's")


class TrialsRequest(Body):
    """Learn: scored trials."""

    trials: Episodes = Field(min_length=1)
    rate_hz: Rate = Field(None, description="of the recording, to be compared with the model's")


class ForkRequest(Body):
    """Which version to begin with; the newest if null."""

    version: int | None = Field(None, ge=1, le=2**31 - 1)


class ActRequest(Body):
    """Observations of any number of robots in the same task."""

    observations: Observations


class EpisodeRequest(Body):
    """Start of a recorded episode; null explores until a trial has been scored."""

    explore: bool | None = None


class StepRequest(Body):
    """The observation now, and the reward of the previous action."""

    observation: Observation
    reward: Reward | None = None


class FinishRequest(Body):
    """The last observation, the reward of the last action, and how it went."""

    observation: Observation
    reward: Reward | None = None
    success: bool | None = None


class ResetRequest(Body):
    """On a stream: drop the episode that was not finished, and begin anew."""

    reset: Literal[True]
    explore: bool | None = None


class AdaptationState(Body):
    """An adaptation without its arrays; `version` counts its own versions.

    `confidence`, `value_of_trial` and `novelty` are null where the model was not calibrated, or could not be asked
    in time; `novelty` also where there are no demos.
    """

    id: str
    model: str
    model_version: int
    version: int
    n_demos: int
    n_trials: int
    ask: dict[str, Any] = Field(description="what was asked for, by kind")
    confidence: Share | None = Field(description="calibrated probability that the next attempt succeeds")
    value_of_trial: float | None = Field(
        ge=-1, le=1, description="probability that the attempt after the next one succeeds, minus `confidence`"
    )
    novelty: Share | None = Field(
        description="quantile of the strangest demo among known ones: 0.5 is typical, from 0.99 on like none known"
    )
    created_at: str
    expires_at: str


class Uploaded(AdaptationState):
    """An adaptation after an upload or a recorded episode, and how those episodes look."""

    quality: list[EpisodeQuality]


class AdaptationPage(Body):
    """Some adaptations, oldest first, and where to go on."""

    items: list[AdaptationState]
    next_cursor: str | None


class VersionState(Body):
    """What one version of an adaptation has seen."""

    version: int
    n_demos: int
    n_trials: int
    scored: bool = Field(description="whether a trial of it has been scored")
    ask: dict[str, Any] = Field(description="what was asked for, by kind")
    created_at: str


class VersionPage(Body):
    """Some versions of an adaptation, oldest first, and where to go on."""

    items: list[VersionState]
    next_cursor: str | None


class ServerTiming(Body):
    """Where the time went, in milliseconds."""

    decode_ms: float
    queue_ms: float
    infer_ms: float
    total_ms: float


class ActAnswer(Body):
    """One action per observation."""

    actions: Actions
    server_timing: ServerTiming


class RecordedEpisode(Body):
    """An episode that the server records while it acts."""

    id: str
    adaptation: str
    version: int
    explore: bool


class StepAnswer(Body):
    """What to do now; `step` counts from 0."""

    action: Annotated[Any, WithJsonSchema(_ACTION)]
    step: int


class Problem(BaseModel):
    """RFC 9457; `type` is stable, `field`, `expected` and `got` are there when they say something."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    expected: str | None = None
    got: str | None = None


REQUESTS = (
    ForkRequest,
    AdaptationRequest,
    DemosRequest,
    TrialsRequest,
    ActRequest,
    EpisodeRequest,
    StepRequest,
    FinishRequest,
)


def to_episodes(field: str, bodies: Sequence[EpisodeBody], spec: Spec) -> tuple[Episode, ...]:
    """Every body as an episode. Raises InvalidData that names which one."""
    episodes = []
    for i, body in enumerate(bodies):
        try:
            episodes.append(body.to_episode(spec))
        except InvalidData as error:
            raise error.within(f"{field}[{i}]") from error
    return tuple(episodes)


def to_observations(field: str, value: Any, spec: Spec, max_rows: int = 1) -> Array:
    """`[n, *o]` observations to act on. Raises InvalidData."""
    if len(value) > max_rows:
        raise InvalidData(field, f"at most {max_rows} rows", f"{len(value)} rows")
    array = pixels(field, value, spec)
    if array.ndim == 0 or array.shape[1:] != spec.observation_space.shape:
        expected = ", ".join(map(str, ("n", *spec.observation_space.shape)))
        raise InvalidData(field, f"shape [{expected}]", f"shape {list(array.shape)}")
    spec.check_observations(array)
    return check_size(field, array)


def to_observation(value: Any, spec: Spec) -> Array:
    """The one `[*o]` observation of a step. Raises InvalidData."""
    shape = spec.observation_space.shape
    if (
        isinstance(value, np.ndarray)
        and value.shape == shape
        and value.dtype == np.float32 == spec.observation_space.dtype
    ):
        return check_size("observation", value)
    array = numbers("observation", value, keep_uint8=True)
    if array.shape != shape:
        raise InvalidData("observation", f"shape {list(shape)}", f"shape {list(array.shape)}")
    return to_observations("observation", array[None], spec)[0]


def check_size(field: str, array: Array) -> Array:
    """Return `array` if its numbers are finite and of a size that a model can bear. Raises InvalidData."""
    if array.dtype.kind != "f" or np.vdot(array, array) <= LARGEST**2:  # which no NaN is
        return array
    if np.abs(array).max(initial=0) <= LARGEST:
        return array
    check_finite(field, array)
    where = tuple(int(i) for i in np.argwhere(np.abs(array) > LARGEST)[0])
    raise InvalidData(field, f"numbers from {-LARGEST:g} to {LARGEST:g}", f"{array[where]:g} at {list(where)}")


def pixels(field: str, value: Any, spec: Spec) -> Any:
    """JSON has no bytes: whole numbers from 0 to 255 are pixels where the spec's observations are images.

    Elsewhere bytes are numbers like all others.
    """
    if spec.observation_space.dtype != np.uint8:
        return numbers(field, value)
    array = numbers(field, value, keep_uint8=True)
    exact = array.dtype == np.uint8 or bool(((array >= 0) & (array <= 255) & (array == np.floor(array))).all())
    if not exact:
        raise InvalidData(field, "whole numbers from 0 to 255", "others")
    return array.astype(np.uint8)
