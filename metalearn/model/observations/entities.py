"""Observations that list entities, each with a place and a look: read as a set, not by slot.

A look becomes a key; what an episode was about is remembered as a few keys, and found again by them among
other entities (attention, Vaswani et al., 2017). So a look that was never seen in training can be followed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from metalearn.config import EntityLayout, ModelConfig
from metalearn.model.observations.vectors import VectorEncoder

N_HEADS = 4
KEY_SIZE = 32
SHARPNESS = 8.0  # of attention, to begin with: scores are cosines times this
NEARNESS = 3.0  # to begin with, an episode is about the entities near which it ended


def split(
    observations: Float[Tensor, "*n o"], layout: EntityLayout
) -> tuple[Float[Tensor, "*n g"], Float[Tensor, "*n m e"]]:
    """What is not about entities `[..., g]`, and the m entities `[..., m, e]`."""
    end = layout.start + layout.count * layout.size
    entities = observations[..., layout.start : end].unflatten(-1, (layout.count, layout.size))
    return torch.cat([observations[..., : layout.start], observations[..., end:]], -1), entities


class EntityMemory(nn.Module):
    """Keys of looks; what to remember of an episode; where to find it again.

    `views` are the v numbers (plain, sines, cosines) that stand for each number of an observation.
    """

    def __init__(self, layout: EntityLayout, n_frames: int, n_views: int, width: int) -> None:
        super().__init__()
        self.layout = layout
        self.key = nn.Linear((layout.size - layout.place) * n_views, KEY_SIZE)
        followed = n_frames * (layout.size * n_views + 1)
        self.relevance = nn.ModuleDict(
            {
                kind: nn.Sequential(nn.Linear(followed, width), nn.ReLU(), nn.Linear(width, N_HEADS))
                for kind in ("demo", "trial")
            }
        )
        self.nearness = nn.Parameter(torch.tensor(NEARNESS))
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))

    def keys(self, entities: Float[Tensor, "*n v m e"]) -> Float[Tensor, "*n m c"]:
        """A unit vector per look."""
        looks = entities[..., self.layout.place :].transpose(-3, -2).flatten(-2)
        return functional.normalize(self.key(looks), dim=-1)

    def remember(self, views: Float[Tensor, "b k f v o"], kind: str) -> Float[Tensor, "b k h c"]:
        """Each head follows the entities through the frames and keeps the key of the one it finds relevant.

        `kind` is "demo" or "trial": different things count in them.
        """
        _, entities = split(views, self.layout)
        distance = entities[:, :, :, 0, :, : self.layout.place].norm(dim=-1).transpose(2, 3)
        followed = torch.cat([entities.permute(0, 1, 4, 2, 3, 5).flatten(3), distance], -1)
        weights = (self.relevance[kind](followed) - self.nearness * distance[..., -1:]).softmax(-2)
        return torch.einsum("bkmh,bkmc->bkhc", weights, self.keys(entities[:, :, -1]))

    def find(self, views: Float[Tensor, "b #z t v o"], queries: Float[Tensor, "b z h c"]) -> Float[Tensor, "b z t p"]:
        """Per head the entity whose look answers the query, in plain numbers (the first view)."""
        _, entities = split(views, self.layout)
        z = queries.shape[1]
        keys = self.keys(entities).expand(-1, z, -1, -1, -1)
        weights = (self.sharpness * torch.einsum("bzhc,bztmc->bztmh", queries, keys)).softmax(-2)
        plain = entities[..., 0, :, :].expand(-1, z, -1, -1, -1)
        return torch.einsum("bztmh,bztmp->bzthp", weights, plain).flatten(-2)


class EntitySetEncoder(VectorEncoder):
    """Vectors of which some numbers list entities, which are read as a set (`metalearn.model.entities`)."""

    memory_shape = (N_HEADS, KEY_SIZE)

    def __init__(
        self, observation_size: int, fourier: tuple[float, ...], layout: EntityLayout, config: ModelConfig
    ) -> None:
        super().__init__(observation_size, fourier)
        self.memory = EntityMemory(layout, config.n_frames, self.n_views, config.encoder_width)
        self.plain_size = observation_size - layout.count * layout.size
        self.frame_size = self.plain_size * (self.n_views + 1)
        self.found_size = N_HEADS * layout.size

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f o"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """What is not about entities, and the keys of the entities that the episodes were about."""
        views = self.views(observations)
        plain, change = (split(numbers, self.memory.layout)[0] for numbers in (views, changes / self.unit))
        return torch.cat([plain.flatten(-2), change], -1), self.memory.remember(views, kind)

    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], Float[Tensor, "*#n _q"] | None]:
        """What is not about entities, and the entities that answer the queries."""
        assert queries is not None
        views = self.views(observations)
        return split(views[..., 0, :], self.memory.layout)[0], self.memory.find(views, queries)
