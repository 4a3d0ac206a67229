"""The routes of the available models, their versions and their aliases."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from service.api.dependencies import ContainerDep, RequestBodyDep
from service.api.openapi import PROBLEMS, request_body_docs
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
    UnusableBundle,
)
from service.api.scopes import requires

router = APIRouter(prefix="/v1/models", tags=["models"], responses=PROBLEMS, dependencies=[requires("models:read")])
changes = APIRouter(prefix="/v1/models", tags=["models"], responses=PROBLEMS, dependencies=[requires("models:write")])

Name = Annotated[str, Path(description="Name of the model.")]

Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Version of the model.")]

Alias = Annotated[
    str,
    Path(
        pattern="^[a-z][a-z0-9-]{0,62}$",
        description="Alias of the model. The name of the model alone stands for its alias `current`.",
    ),
]


@router.get("", response_model=ModelPage)
def read_all(request: RequestBodyDep, container: ContainerDep) -> Response:
    """Read every available model, in its current version, and which bundles of the models folder cannot be used."""
    unusable = [UnusableBundle(name=name, reason=why) for name, why in container.registry.unusable.items()]
    cards = [model_card(info) for info in container.registry.available]
    return request.answer(ModelPage(items=cards, unusable=unusable, next_cursor=None))


@changes.post("", response_model=ModelVersionPage, openapi_extra=request_body_docs(RegisterRequest, required=False))
def register(request: RequestBodyDep, container: ContainerDep) -> Response:
    """Register a bundle of the server's models folder, or all new ones.

    A bundle that is registered again keeps its version.
    """
    body = request.read_optional(RegisterRequest)
    return request.answer(
        model_versions(container, container.registry.register_from(container.settings.models, body.name))
    )


@router.get("/{name}", response_model=ModelCard)
def read(request: RequestBodyDep, container: ContainerDep, name: Name) -> Response:
    """Read a model in its current version."""
    return request.answer(model_card(container.registry.info(name)))


@router.get("/{name}/versions", response_model=ModelVersionPage)
def read_versions(request: RequestBodyDep, container: ContainerDep, name: Name) -> Response:
    """Read every version of a model, oldest first."""
    return request.answer(model_versions(container, container.registry.catalog.versions(name)))


@router.get("/{name}/aliases", response_model=AliasPage)
def read_aliases(
    request: RequestBodyDep, container: ContainerDep, name: Name, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """Read the aliases of a model, and a page of their history, newest first."""
    catalog = container.registry.catalog
    catalog.versions(name)  # raises ModelNotFound
    changes_made, more = catalog.history(name, limit, None if cursor is None else position_of(cursor))
    return request.answer(
        AliasPage(
            aliases=dict(catalog.alias_targets(name).get(name, {})),
            items=[alias_state(change) for change in changes_made],
            next_cursor=None if more is None else cursor_of(more),
        )
    )


@changes.put("/{name}/aliases/{alias}", response_model=AliasState, openapi_extra=request_body_docs(AliasRequest))
def set_alias(request: RequestBodyDep, container: ContainerDep, name: Name, alias: Alias) -> Response:
    """Point an alias at a version. Existing adaptations keep the version that they were made with."""
    body = request.read(AliasRequest)
    return request.answer(alias_state(container.registry.set_alias(name, alias, body.version)))


@changes.delete("/{name}/aliases/{alias}", status_code=204, response_class=Response)
def delete_alias(container: ContainerDep, name: Name, alias: Alias) -> Response:
    """Delete an alias. Without `current` the model is no longer available; its adaptations keep working."""
    container.registry.unset_alias(name, alias)
    return Response(status_code=204)


@changes.post("/{name}/aliases/{alias}/rollback", response_model=AliasState, openapi_extra=request_body_docs(None))
def rollback(request: RequestBodyDep, container: ContainerDep, name: Name, alias: Alias) -> Response:
    """Point an alias at the version that it pointed at before. A second call goes one change further back."""
    return request.answer(alias_state(container.registry.catalog.rollback(name, alias, request.idempotency_key)))


@router.get("/{name}/{version}", response_model=ModelCard)
def read_version(request: RequestBodyDep, container: ContainerDep, name: Name, version: Number) -> Response:
    """Read one version of a model."""
    return request.answer(model_card(container.registry.info(name, version)))
