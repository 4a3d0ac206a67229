"""Bodies of the adaptation and episode routes.

Strict: strings and booleans are not numbers, and unknown fields are refused. Converts bodies to data types, given the
spec of a model. Knows neither bytes nor HTTP.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from metalearn.data.asks import Ask, AskOffer
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.quality import EpisodeQuality
from metalearn.data.spec import Spec
from metalearn.data.values import flag, number
from service.api.schemas.observations import LARGEST, check_size, observed


def _list_or_array(value: Any) -> Any:
    """Return the numbers unconverted: one numpy pass converts and checks them once the spec is known."""
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim > 0):
        return value
    raise PydanticCustomError("numbers", "a list of numbers")


def _by_the_rule_of(read: Callable[[str, object], Any]) -> Callable[[Any], Any]:
    """Make a validator of one of the rules that files follow too, see `metalearn.data.values`."""

    def validate(value: Any) -> Any:
        try:
            return read("value", value)
        except InvalidData as error:
            raise PydanticCustomError("value", "{expected}", {"expected": error.expected}) from error

    return validate


def _parts_or_list(value: Any) -> Any:
    """Return observations unconverted: numbers, pictures, or a mapping with those of each part."""
    return value if isinstance(value, dict) else _list_or_array(value)


def _one_observation(value: Any) -> Any:
    """Return one unconverted: of one component it may be a number without its axis, of a picture a file."""
    return value if isinstance(value, bool | int | float | str | bytes | np.ndarray) else _parts_or_list(value)


_NUMBER = {"type": "number"}
_ACTION = {"anyOf": [{"type": "array", "items": _NUMBER}, {"type": "integer"}]}
_Numbers = Annotated[Any, PlainValidator(_list_or_array)]
_BY_PART = {
    "type": "object",
    "description": "Of observations with parts: what each part is, by name (`GET /v1/models` lists them).",
    "additionalProperties": {"anyOf": [{"type": "array", "items": {}}, {"type": "string"}, {"type": "object"}]},
}
_PICTURE = {
    "type": "string",
    "description": "Of a picture with 1, 3 or 4 channels: a PNG or JPEG as data:image/png;base64,...",
}
_SEVERAL = {"type": "array", "items": {"anyOf": [{"type": "array", "items": {}}, _PICTURE]}}
_ONE = {"type": "array", "items": {}}
Observations = Annotated[Any, PlainValidator(_parts_or_list), WithJsonSchema({"anyOf": [_SEVERAL, _BY_PART]})]
Observation = Annotated[Any, PlainValidator(_one_observation), WithJsonSchema({"anyOf": [_ONE, _PICTURE, _BY_PART]})]
Actions = Annotated[_Numbers, WithJsonSchema({"type": "array", "items": _ACTION})]
Rewards = Annotated[_Numbers, WithJsonSchema({"type": "array", "items": _NUMBER})]
Share = Annotated[float, Field(ge=0, le=1)]
Reward = Annotated[
    Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)] | None,
    BeforeValidator(_by_the_rule_of(number)),
]
Success = Annotated[
    bool | None,
    BeforeValidator(_by_the_rule_of(flag)),
    Field(description="Outcome of the episode: true or 1, false or 0, and null where it is not known."),
]
Rate = Annotated[float | None, Field(gt=0, le=1e6, allow_inf_nan=False)]
AskBody = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "null"}]})]
"""Unconverted: what can be asked for is known once the model is."""


MOST_FIELDS = 50

NEXT_CURSOR: Any = Field(description="Cursor of the next page. Null on the last page.")
_ASKED: Any = Field(description="What is asked for beyond the task itself, by kind.")
_EXPLORE: Any = Field(
    None,
    description="True to act under a sampled hypothesis, false for the most probable one. If null or absent, the "
    "episode explores until a trial has been scored. A model that searches tries what is worth most in both cases.",
)
_RATE: Any = Field(
    None, description="Control rate of the recording. The quality report compares it with the rate of the model."
)


class Body(BaseModel):
    """Base class of request and response bodies."""

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

    observations: Observations = Field(
        description="Observations as numbers of shape [t + 1, ...o], or those of each part by name."
    )
    actions: Actions | None = Field(
        None, description="Actions as numbers of shape [t, a], or as integers of shape [t] for discrete actions."
    )
    rewards: Rewards | None = Field(None, description="Rewards as numbers of shape [t], one per action.")
    success: Success = None

    def to_episode(self, spec: Spec) -> Episode:
        """Convert the body to an episode. Raises InvalidData."""
        observations = observed("observations", self.observations, spec)
        episode = spec.fit(Episode.of(observations, self.actions, self.rewards, self.success))
        for name, array in episode.arrays().items():
            check_size(name, array)
        return episode


# Validation stops at the first invalid episode: an error for each of millions would fill the memory.
Episodes = Annotated[list[EpisodeBody], FailFast()]


class AdaptationRequest(Body):
    """A model to adapt, demonstrations of the task, and the model's own trials so far."""

    model: str = Field(
        min_length=1,
        max_length=200,
        description="Name of the model, optionally with a version or an alias, as `reach`, `reach@3`, `reach@stable`.",
    )
    demos: Episodes = Field(description="Demonstrations of the task.")
    trials: Episodes = Field([], description="Scored attempts of the policy at the task.")
    ask: AskBody = Field(
        None,
        description="What is asked for beyond the task itself, by kind, as the model's `asks` say. Null or absent: "
        "nothing.",
    )
    rate_hz: Rate = _RATE

    def to_context(self, spec: Spec, asks: Sequence[AskOffer] = ()) -> Context:
        """Convert the body to a context for a model with this spec and these offers. Raises InvalidData."""
        ask = Ask.received(self.ask, asks)
        return Context(to_episodes("demos", self.demos, spec), to_episodes("trials", self.trials, spec), ask)


class DemosRequest(Body):
    """Demonstrations to add to an adaptation."""

    demos: Episodes = Field(min_length=1, description="Demonstrations of the task.")
    rate_hz: Rate = _RATE


class TrialsRequest(Body):
    """Scored trials to add to an adaptation."""

    trials: Episodes = Field(min_length=1, description="Scored attempts of the policy at the task.")
    rate_hz: Rate = _RATE


class AskRequest(Body):
    """What is asked for from the next version on."""

    ask: AskBody = Field(
        description="What is asked for beyond the task itself, by kind, as the model's `asks` say; it takes the place "
        "of all that was asked for before. Null: nothing."
    )


class ForkRequest(Body):
    """The version that a fork starts from, and what is asked of it."""

    version: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Version to start from. The newest one if null or absent."
    )
    ask: AskBody = Field(
        None,
        description="What is asked for, in place of what that version asks for. Null or absent: the same; {}: nothing.",
    )


class ActRequest(Body):
    """A batch of observations, for example of several robots that do the same task."""

    observations: Observations = Field(
        description="Observations as numbers of shape [n, ...o], or those of each part by name."
    )
    sample: bool = Field(
        False,
        description="True to draw each action as whoever was watched may act, as shaky as it was; false for the most "
        "probable action.",
    )


class EpisodeRequest(Body):
    """Options of a new recorded episode."""

    explore: bool | None = _EXPLORE


class StepRequest(Body):
    """One step of a recorded episode: the current observation and the reward of the previous action."""

    observation: Observation = Field(
        description="Current observation as numbers of shape [...o], or of each part by name."
    )
    reward: Reward = Field(None, description="Reward of the previous action. Null if it is not known.")


class FinishRequest(Body):
    """The end of a recorded episode: its last observation, the reward of its last action, and its outcome."""

    observation: Observation = Field(
        description="Last observation as numbers of shape [...o], or of each part by name."
    )
    reward: Reward = Field(None, description="Reward of the last action. Null if it is not known.")
    success: Success = None


class ResetRequest(Body):
    """A frame on a stream that drops the unfinished episode and starts a new one."""

    reset: Literal[True] = Field(description="Always true.")
    explore: bool | None = _EXPLORE


class Origin(Body):
    """The version of an adaptation that a fork started from."""

    id: str = Field(description="Id of the adaptation, which may be deleted by now.")
    version: int = Field(description="Version of the adaptation.")


class BeliefState(Body):
    """What the policy believes of the task: how probable each of its hypotheses is."""

    probabilities: list[Share] = Field(
        description="Probability of each hypothesis. An episode acts under one of them: a sampled one if it explores, "
        "else the most probable one; a model that searches chooses by what succeeds instead."
    )
    success: list[Share] | None = Field(
        None,
        description="How probably the next attempt succeeds under each behaviour that is to choose from, given what "
        "has failed and succeeded: the hypotheses for what was shown, and then the same number as if nothing had been "
        "shown. Null of a model that does not search, and where nobody knows how a trial went or what was done in it.",
    )
    entropy_bits: float = Field(
        ge=0, description="Entropy of the probabilities in bits. 0 if one hypothesis is certain."
    )


class AdaptationState(Body):
    """An adaptation without its arrays.

    `belief`, `confidence`, `value_of_trial` and `novelty` are null if the model could not be evaluated in time; all but
    `belief` also if it has no calibration. `novelty` is also null if there are no demonstrations.
    """

    id: str = Field(description="Id of the adaptation.")
    model: str = Field(description="Name of the model that was adapted.")
    model_version: int = Field(description="Version of the model. An adaptation keeps it for life.")
    version: int = Field(
        description="Version of the adaptation. It starts at 1; an upload or another ask makes the next one."
    )
    n_demos: int = Field(description="Number of demonstrations in this version.")
    n_trials: int = Field(description="Number of trials in this version.")
    ask: dict[str, Any] = _ASKED
    ask_warnings: list[str] = Field(
        description="What of the ask is outside of what the model was trained for, and what it counts as."
    )
    belief: BeliefState | None = Field(description="What the policy believes of the task.")
    confidence: Share | None = Field(description="Calibrated probability that the next attempt succeeds.")
    value_of_trial: float | None = Field(
        ge=-1, le=1, description="Probability that the attempt after the next one succeeds, minus `confidence`."
    )
    novelty: Share | None = Field(
        description="Quantile of the most unusual demonstration among those of the validation tasks. 0.5 is typical; "
        "from 0.99 on the demonstration is unlike any of them."
    )
    forked_from: Origin | None = Field(description="What it was forked from. Null if it is no fork.")
    created_at: str = Field(description="Time of creation, ISO 8601 in UTC.")
    expires_at: str = Field(description="Time of expiry unless the adaptation is used again, ISO 8601 in UTC.")


class Uploaded(AdaptationState):
    """An adaptation after an upload or a recorded episode, with a quality report on the new episodes."""

    quality: list[EpisodeQuality] = Field(description="One report per new episode, in the order of the upload.")


class AdaptationPage(Body):
    """A page of adaptations."""

    items: list[AdaptationState] = Field(description="Adaptations in their newest versions.")
    next_cursor: str | None = NEXT_CURSOR


class VersionState(Body):
    """The contents of one version of an adaptation."""

    version: int = Field(description="Version of the adaptation.")
    n_demos: int = Field(description="Number of demonstrations in this version.")
    n_trials: int = Field(description="Number of trials in this version.")
    scored: bool = Field(description="True if at least one of the trials has rewards or an outcome.")
    ask: dict[str, Any] = _ASKED
    created_at: str = Field(description="Time of creation of this version, ISO 8601 in UTC.")


class VersionPage(Body):
    """A page of the versions of an adaptation, oldest first."""

    items: list[VersionState] = Field(description="Versions of the adaptation.")
    next_cursor: str | None = NEXT_CURSOR


class FamilyMember(Body):
    """An adaptation in a family of forks, with its versions."""

    id: str = Field(description="Id of the adaptation.")
    forked_from: Origin | None = Field(description="What it was forked from. Null if it is no fork.")
    created_at: str = Field(description="Time of creation, ISO 8601 in UTC.")
    versions: list[VersionState] = Field(description="Versions of the adaptation, oldest first.")


class Family(Body):
    """The adaptations that come from one, by forks and forks of forks."""

    items: list[FamilyMember] = Field(description="The adaptations, oldest first.")


class ServerTiming(Body):
    """The duration of each stage of a request, in milliseconds."""

    decode_ms: float = Field(description="Decoding and checking of the body.")
    queue_ms: float = Field(description="Waiting for the model.")
    infer_ms: float = Field(description="The forward pass of the policy.")
    total_ms: float = Field(description="Everything from the arrival of the body until the answer is encoded.")


class ActAnswer(Body):
    """One action per observation."""

    actions: Actions = Field(
        description="Actions as numbers of shape [n, a], or as integers of shape [n] for discrete actions."
    )
    server_timing: ServerTiming = Field(description="Durations of the stages of this request.")


class RecordedEpisode(Body):
    """An episode that the server records while it acts."""

    id: str = Field(description="Id of the recorded episode.")
    adaptation: str = Field(description="Id of the adaptation that acts.")
    version: int = Field(description="Version of the adaptation that acts.")
    explore: bool = Field(
        description="True if the hypothesis was sampled, false if it is the most probable one; a search draws nothing."
    )


class StepAnswer(Body):
    """The next action of a recorded episode."""

    action: Annotated[Any, WithJsonSchema(_ACTION)] = Field(
        description="Action as numbers of shape [a], or as an integer for discrete actions."
    )
    step: int = Field(description="Number of this step in the episode, from 0.")


class Problem(BaseModel):
    """A refusal or failure, as a problem after RFC 9457."""

    type: str = Field(description="Stable identifier of the kind of problem, for programs.")
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="This occurrence of the problem in one sentence.")
    field: str | None = Field(None, description="Field, parameter or header with the problem, if it is a single one.")
    expected: str | None = Field(None, description="Value that was expected there, in words.")
    got: str | None = Field(None, description="Value that was found there, in words.")


REQUESTS = (
    AskRequest,
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
    """Convert every body to an episode. Raises InvalidData, which names the first invalid one."""
    episodes = []
    for i, body in enumerate(bodies):
        try:
            episodes.append(body.to_episode(spec))
        except InvalidData as error:
            raise error.within(f"{field}[{i}]") from error
    return tuple(episodes)
