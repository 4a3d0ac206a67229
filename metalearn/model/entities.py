"""Observations that list entities (objects with a place and a look): read as a set, not by slot.

Both modules give the same answer in whatever order the entities are listed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from metalearn.config import EntityLayout


def split(observations: Float[Tensor, "*n o"], layout: EntityLayout) -> tuple[Float[Tensor, "*n g"], Float[Tensor, "*n m e"]]:
    """What is not about entities `[..., g]`, and the entities `[..., m, e]`."""
    end = layout.start + layout.count * layout.size
    entities = observations[..., layout.start : end].unflatten(-1, (layout.count, layout.size))
    return torch.cat([observations[..., : layout.start], observations[..., end:]], -1), entities


class EntityPool(nn.Module):
    """What an episode says of its entities: each is followed through the frames, then all are added up.

    Deep sets (Zaheer et al., 2017): sum over entities of phi(the entity in every frame).
    """

    def __init__(self, layout: EntityLayout, n_frames: int, n_views: int, width: int) -> None:
        super().__init__()
        self.layout = layout
        size = n_frames * layout.size * n_views
        self.embed = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())

    def forward(self, views: Float[Tensor, "b k f v o"]) -> Float[Tensor, "b k w"]:
        """`views` are the v numbers (plain, sines, cosines) that stand for each number of an observation."""
        _, entities = split(views, self.layout)
        followed = entities.permute(0, 1, 4, 2, 3, 5).flatten(3)
        pooled: Tensor = self.embed(followed).sum(2)
        return pooled


class EntityAttention(nn.Module):
    """Which entity counts, in the light of a task: attention of several heads, steered by `film`.

    softmax over entities of score(entity, task), then the mean of the entities under these weights.
    """

    def __init__(self, layout: EntityLayout, n_views: int, width: int, n_heads: int = 4) -> None:
        super().__init__()
        self.layout = layout
        self.embed = nn.Linear(layout.size * n_views, width)
        self.mix = nn.Linear(width, width)
        self.score = nn.Linear(width, n_heads)
        self.film_size = 2 * width
        self.size = n_heads * layout.size

    def forward(self, views: Float[Tensor, "b #z t v o"], film: Float[Tensor, "b z 1 c"]) -> Float[Tensor, "b z t p"]:
        """Per head the entity it attends to, as plain numbers (the first view)."""
        _, entities = split(views, self.layout)
        scale, shift = film[..., None, :].chunk(2, -1)
        seen = self.embed(entities.transpose(-3, -2).flatten(-2))
        hidden = functional.relu(seen * (1 + scale) + shift)
        weights = self.score(functional.relu(self.mix(hidden))).softmax(-2)
        plain = entities[..., 0, :, :].expand(*weights.shape[:-1], -1)
        return torch.einsum("bztmh,bztme->bzthe", weights, plain).flatten(-2)
