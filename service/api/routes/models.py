"""The models on offer: what they take, what made them, how good they are; what their aliases mean."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from service.api.dependencies import ServiceDep, WireDep
from service.api.openapi import PROBLEMS, takes
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import alias_state, model_card, model_versions
from service.api.schemas.models import (
    AliasPage,
    AliasRequest,
    AliasState,
    ModelCard,
    ModelPage,
    ModelVersionPage,
    RegisterRequest,
)

router = APIRouter(prefix="/v1/models", tags=["models"], responses=PROBLEMS)

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]

Alias = Annotated[
    str, Path(pattern="^[a-z][a-z0-9-]{0,62}$", description="of the model; `current` is what its name alone means")
]


@router.get("", response_model=ModelPage)
def read_all(wire: WireDep, service: ServiceDep) -> Response:
    """Every model, in its current version."""
    return wire.answer(ModelPage(items=[model_card(offer) for offer in service.registry.on_offer], next_cursor=None))


@router.post("", response_model=ModelVersionPage, openapi_extra=takes(RegisterRequest, required=False))
def register(wire: WireDep, service: ServiceDep) -> Response:
    """Register a bundle of the models folder, or whatever is new there. The same bundle again is the same version."""
    body = wire.read_optional(RegisterRequest)
    return wire.answer(model_versions(service, service.registry.register_from(service.settings.models, body.name)))


@router.get("/{name}", response_model=ModelCard)
def read(wire: WireDep, service: ServiceDep, name: str) -> Response:
    """A model in its current version."""
    return wire.answer(model_card(service.registry.offer(name)))


@router.get("/{name}/versions", response_model=ModelVersionPage)
def read_versions(wire: WireDep, service: ServiceDep, name: str) -> Response:
    """Every version of a model, oldest first."""
    return wire.answer(model_versions(service, service.registry.catalogue.versions(name)))


@router.get("/{name}/aliases", response_model=AliasPage)
def read_aliases(wire: WireDep, service: ServiceDep, name: str, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """What the aliases of a model mean now, and a page of their history, newest first."""
    catalogue = service.registry.catalogue
    catalogue.versions(name)  # it is there
    moves, more = catalogue.history(name, limit, None if cursor is None else position_of(cursor))
    return wire.answer(
        AliasPage(
            aliases=dict(catalogue.meanings(name).get(name, {})),
            items=[alias_state(move) for move in moves],
            next_cursor=None if more is None else cursor_of(more),
        )
    )


@router.put("/{name}/aliases/{alias}", response_model=AliasState, openapi_extra=takes(AliasRequest))
def set_alias(wire: WireDep, service: ServiceDep, name: str, alias: Alias) -> Response:
    """Let an alias mean a version from now on; adaptations stay with the version that they were made with."""
    body = wire.read(AliasRequest)
    return wire.answer(alias_state(service.registry.point(name, alias, body.version)))


@router.delete("/{name}/aliases/{alias}", status_code=204, response_class=Response)
def delete_alias(service: ServiceDep, name: str, alias: Alias) -> Response:
    """Let an alias mean nothing. Without `current` the model is not on offer any more; its adaptations go on."""
    service.registry.withdraw(name, alias)
    return Response(status_code=204)


@router.post("/{name}/aliases/{alias}/rollback", response_model=AliasState, openapi_extra=takes(None))
def rollback(wire: WireDep, service: ServiceDep, name: str, alias: Alias) -> Response:
    """Let an alias mean what it meant before; once more, and it is what it meant before that."""
    return wire.answer(alias_state(service.registry.catalogue.rollback(name, alias, wire.post)))


@router.get("/{name}/{version}", response_model=ModelCard)
def read_version(wire: WireDep, service: ServiceDep, name: str, version: Number) -> Response:
    """A model in one version."""
    return wire.answer(model_card(service.registry.offer(name, version)))
