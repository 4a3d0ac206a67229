"""The models on offer: what they take, what made them, how good they are."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from service.registry import Model
from service.routes.parameters import PROBLEMS, ServiceDep, WireDep
from service.schemas import EpisodeBody, ModelCard, ModelPage

router = APIRouter(prefix="/v1/models", tags=["models"], responses=PROBLEMS)
ModelVersion = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("", response_model=ModelPage)
def read_all(wire: WireDep, service: ServiceDep) -> Response:
    """Every model, in its current version."""
    return wire.answer(ModelPage(items=[_card(model) for model in service.registry.on_offer], next_cursor=None))


@router.get("/{name}", response_model=ModelCard)
def read(wire: WireDep, service: ServiceDep, name: str) -> Response:
    """A model in its current version."""
    return wire.answer(_card(service.registry.get(name)))


@router.get("/{name}/{version}", response_model=ModelCard)
def read_version(wire: WireDep, service: ServiceDep, name: str, version: ModelVersion) -> Response:
    """A model in one version."""
    return wire.answer(_card(service.registry.get(name, version)))


def _card(model: Model) -> ModelCard:
    return ModelCard(
        name=model.name,
        version=model.version,
        spec=model.spec.to_json(),
        report=model.bundle.report,
        provenance=model.bundle.provenance,
        example=EpisodeBody.of(model.example),
    )
