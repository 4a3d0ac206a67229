"""Models, their versions and aliases, as they travel."""

from typing import Any, Literal

from pydantic import Field

from service.api.schemas.adaptations import Body, EpisodeBody


class ModelCard(Body):
    """A model, what made it, how good it is, and an episode that it takes as demo and as trial.

    `aliases` mean this version now; `runtime` computes it here, null: it is loaded when it is asked for.
    """

    name: str
    version: int
    aliases: list[str]
    runtime: str | None
    spec: dict[str, Any]
    report: dict[str, Any] | None
    provenance: dict[str, Any]
    example: EpisodeBody


class ModelPage(Body):
    """The models that are offered, in their current versions."""

    items: list[ModelCard]
    next_cursor: str | None


class RegisterRequest(Body):
    """Register the bundle of this name in the models folder, as the current version; or look what is new there."""

    name: str | None = Field(None, min_length=1, max_length=64, examples=["reach"])


class AliasRequest(Body):
    """What an alias shall mean."""

    version: int = Field(ge=1, le=2**31 - 1)


class AliasState(Body):
    """An alias after a change; `version` is null where it means nothing any more."""

    name: str
    alias: str
    version: int | None
    action: Literal["found", "registered", "set", "rollback", "delete"]
    at: str


class AliasPage(Body):
    """What the aliases of a model mean now, and their history, newest first."""

    aliases: dict[str, int]
    items: list[AliasState]
    next_cursor: str | None


class ModelVersion(Body):
    """One version of a model: the id of its bundle, the aliases that mean it, and what computes it here.

    `runtime` is null where the version is not in this server's memory; it is loaded when it is asked for.
    """

    name: str
    version: int
    bundle: str
    registered_at: str
    aliases: list[str]
    runtime: str | None


class ModelVersionPage(Body):
    """Versions of models, oldest first."""

    items: list[ModelVersion]
    next_cursor: str | None


REQUESTS = (RegisterRequest, AliasRequest)
