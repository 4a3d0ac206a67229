"""Bodies of the routes of models, their versions and their aliases."""

from typing import Any, Literal

from pydantic import Field

from service.api.schemas.adaptations import NEXT_CURSOR, Body, EpisodeBody

Bounds = float | list[float | None] | None
_RUNTIME = "Runtime that computes the version on this server. Null while the version is not loaded: it is on first use."


class BoxSpace(Body):
    """A space of numbers: arrays of one shape, between bounds."""

    type: Literal["box"] = Field(description="Always `box`.")
    shape: list[int] = Field(description="Shape of one observation or action, as [10] or [64, 64, 3].")
    low: Bounds = Field(description="Lower bound: one for all components, or one per component; null: none.")
    high: Bounds = Field(description="Upper bound: one for all components, or one per component; null: none.")
    dtype: str = Field(description="Type of the numbers: `float32`, or `uint8` for pixels.")


class DiscreteSpace(Body):
    """A space of n integers."""

    type: Literal["discrete"] = Field(description="Always `discrete`.")
    n: int = Field(description="Number of actions.")
    start: int = Field(description="The smallest action; the largest is start + n - 1.")


class MultiDiscreteSpace(Body):
    """A space of several choices at once."""

    type: Literal["multi_discrete"] = Field(description="Always `multi_discrete`.")
    nvec: list[Any] = Field(description="Number of choices of each component, nested as its shape says.")
    start: list[Any] = Field(description="The smallest choice of each component.")


class MultiBinarySpace(Body):
    """A space of zeros and ones."""

    type: Literal["multi_binary"] = Field(description="Always `multi_binary`.")
    n: int | list[int] = Field(description="Number of components, or their shape.")


class DictSpace(Body):
    """A space of observations with parts by name; the names of nested ones are joined by `/`."""

    type: Literal["dict"] = Field(description="Always `dict`.")
    spaces: dict[str, Any] = Field(description="The space of each part.")


class TupleSpace(Body):
    """A space of observations with parts that are numbered from 0."""

    type: Literal["tuple"] = Field(description="Always `tuple`.")
    spaces: list[Any] = Field(description="The space of each part.")


_ActionSpace = BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace


class ModelSpec(Body):
    """The spaces that a model acts in, and its time."""

    observation_space: _ActionSpace | DictSpace | TupleSpace = Field(
        discriminator="type", description="Space of one observation; o is its shape, if it has no parts."
    )
    action_space: _ActionSpace = Field(
        discriminator="type", description="Space of one action; a is its shape, which one integer does not have."
    )
    horizon: int = Field(description="Largest number of steps of an episode.")
    rate_hz: float = Field(description="Control rate in steps per second.")
    version: int = Field(description="Version of the meaning of these numbers.")


class ObservationPart(Body):
    """A part of an observation, under the name by which requests carry it."""

    name: str = Field(description="Name of the part, as `arm` or `observation/camera`. Empty if there is only one.")
    kind: Literal["vector", "set", "image", "category"] = Field(
        description="How it is read: numbers, a set of entities in any order, pixels, or a choice."
    )
    shape: list[int] = Field(description="Shape of one of it, as [64, 64, 3]; one number has none.")
    dtype: Literal["float32", "uint8"] = Field(description="Type of its numbers.")


class OfferedAsk(Body):
    """A kind of ask that a model was trained for."""

    kind: str = Field(description="Name of the kind, the key under which an ask has its value.")
    accepts: str = Field(description="What can be asked for, in words, as `a number from 0 to 120`.")
    size: int = Field(description="Number of numbers of a value; 0 if it is not made of numbers.")
    low: list[float] = Field(description="Smallest value of each of these numbers in training.")
    high: list[float] = Field(description="Largest value of each of these numbers in training.")
    examples: list[Any] = Field(description="Some values that were asked for in training.")
    encoder: str | None = Field(description="What turns text into numbers. Null if it is not asked for in text.")


class ModelCard(Body):
    """One version of a model: its spec, its evaluation, its provenance, and an example episode."""

    name: str = Field(description="Name of the model.")
    version: int = Field(description="Version of the model.")
    aliases: list[str] = Field(description="Aliases that point at this version.")
    runtime: str | None = Field(description=_RUNTIME)
    spec: ModelSpec = Field(description="Observation and action spaces, horizon and control rate.")
    parts: list[ObservationPart] = Field(description="Parts of an observation, and how each of them is read.")
    asks: list[OfferedAsk] = Field(description="Kinds of ask that the model was trained for. Empty: it follows none.")
    report: dict[str, Any] | None = Field(description="Results of the evaluation after training. Null without one.")
    provenance: dict[str, Any] = Field(description="Experiment, seeds and versions that the model was made with.")
    example: EpisodeBody = Field(
        description="A demonstration like those that the model was trained on. Random numbers if the bundle has none."
    )


class UnusableBundle(Body):
    """A bundle in the server's models folder that cannot be used."""

    name: str = Field(description="Name of the bundle's folder.")
    reason: str = Field(description="Why it cannot be used.")


class ModelPage(Body):
    """The available models, in their current versions."""

    items: list[ModelCard] = Field(description="One card per model.")
    unusable: list[UnusableBundle] = Field(description="Bundles of the models folder that cannot be used, and why.")
    next_cursor: str | None = NEXT_CURSOR


class RegisterRequest(Body):
    """A bundle in the server's models folder to register."""

    name: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Name of the bundle, which becomes the current version. All new bundles if null or absent.",
    )


class AliasRequest(Body):
    """The new target of an alias."""

    version: int = Field(ge=1, le=2**31 - 1, description="Version of the model that the alias shall point at.")


class AliasState(Body):
    """An alias after a change."""

    name: str = Field(description="Name of the model.")
    alias: str = Field(description="Name of the alias.")
    version: int | None = Field(description="Version that the alias points at. Null if it was deleted.")
    action: Literal["found", "registered", "set", "rollback", "delete"] = Field(description="Kind of the change.")
    at: str = Field(description="Time of the change, ISO 8601 in UTC.")


class AliasPage(Body):
    """The aliases of a model, and a page of their history, newest first."""

    aliases: dict[str, int] = Field(description="Version that each alias points at.")
    items: list[AliasState] = Field(description="Changes of the aliases, newest first.")
    next_cursor: str | None = NEXT_CURSOR


class ModelVersion(Body):
    """One version of a model."""

    name: str = Field(description="Name of the model.")
    version: int = Field(description="Version of the model.")
    bundle: str = Field(description="Id of the bundle, a digest of its contents.")
    registered_at: str = Field(description="Time of registration, ISO 8601 in UTC.")
    aliases: list[str] = Field(description="Aliases that point at this version.")
    runtime: str | None = Field(description=_RUNTIME)
    asks: list[OfferedAsk] | None = Field(
        description="Kinds of ask that the version was trained for. Null if its files are gone."
    )


class ModelVersionPage(Body):
    """Versions of models, oldest first."""

    items: list[ModelVersion] = Field(description="Versions, oldest first.")
    next_cursor: str | None = NEXT_CURSOR


REQUESTS = (RegisterRequest, AliasRequest)
