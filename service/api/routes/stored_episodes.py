"""The route that reads the episodes of an adaptation, to look at them: with few steps and few pictures of each."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.parts import split
from metalearn.data.pictures import thumbnail, to_data_uri
from metalearn.data.quality import EpisodeQuality
from metalearn.data.spec import Spec
from metalearn.quality import inspect
from service.adaptations.records import Member
from service.api.dependencies import AdaptationId, ContainerDep, RequestBodyDep, Version
from service.api.openapi import PROBLEMS
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.schemas.stored_episodes import StoredEpisode, StoredEpisodePage, in_steps
from service.api.scopes import requires

router = APIRouter(
    prefix="/v1/adaptations/{adaptation_id}/episodes",
    tags=["adaptations"],
    responses=PROBLEMS,
    dependencies=[requires("adapt")],
)

MOST_PIXELS = 84
"""Of a side of a picture, to look at: as many as the film strips of the console have."""

Steps = Annotated[
    int, Query(ge=2, le=1000, description="Observations of each episode: evenly many, with the first and the last.")
]
Pictures = Annotated[int, Query(ge=2, le=100, description="Thumbnails of each part of each episode that has pictures.")]


@router.get("", response_model=StoredEpisodePage)
def read_episodes(
    request: RequestBodyDep,
    container: ContainerDep,
    adaptation_id: AdaptationId,
    version: Version = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    steps: Steps = 200,
    pictures: Pictures = 12,
) -> Response:
    """Read a page of the episodes of an adaptation, with a quality report on each.

    They come with some of their steps and small pictures, to look at; the export has all of them, as they were.
    """
    adaptation = container.adaptations.read(request.tenant, adaptation_id, version)
    model = container.adaptations.model(adaptation)
    found, more = container.repository.members(adaptation, limit, 0 if cursor is None else position_of(cursor))
    episodes = [container.repository.episode(member) for member in found]
    reports: dict[tuple[str, int], EpisodeQuality] = {}
    for role in ("demo", "trial"):
        own = [(member, one) for member, one in zip(found, episodes, strict=True) if member.role == role]
        several = tuple(one for _, one in own)
        context = Context(demos=several) if role == "demo" else Context(trials=several)
        qualities = inspect(context, model.spec, model.confidence)
        reports |= {(role, member.index): quality for (member, _), quality in zip(own, qualities, strict=True)}
    items = [
        _present(member, episode, model.spec, reports[member.role, member.index], steps, pictures)
        for member, episode in zip(found, episodes, strict=True)
    ]
    return request.answer(StoredEpisodePage(items=items, next_cursor=None if more is None else cursor_of(more)))


def _present(
    member: Member, episode: Episode, spec: Spec, quality: EpisodeQuality, n_steps: int, n_pictures: int
) -> StoredEpisode:
    kept, seen = _spread(len(episode), n_steps), _spread(len(episode), n_pictures)
    pictured = [part.name for part in spec.pictures]
    arrays: dict[str, Any] = {
        name: [to_data_uri(thumbnail(array[step], MOST_PIXELS)) for step in seen]
        if name in pictured
        else in_steps(array[kept])
        for name, array in split(episode.observations).items()
    }
    acted = kept[:-1]
    return StoredEpisode(
        role=member.role,
        index=member.index,
        since=member.since,
        length=len(episode),
        steps=kept.tolist(),
        picture_steps=seen.tolist() if pictured else [],
        observations=arrays if spec.composite else arrays[""],
        actions=None if episode.actions is None else in_steps(episode.actions[acted]),
        rewards=None if episode.rewards is None else in_steps(episode.rewards[acted]),
        success=episode.success,
        quality=quality,
    )


def _spread(last: int, most: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """At most `most` steps from 0 to `last`, both included, evenly."""
    return np.unique(np.linspace(0, last, most).round().astype(np.int64))
