"""A part that lists entities, each with a place and a look: read as a set, not by slot.

A look becomes a key; what an episode was about is remembered as a few keys, and found again by them among
other entities (attention, Vaswani et al., 2017). So a look that was never seen in training can be followed.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from metalearn.model.observations.base import ObservationEncoder
from metalearn.model.observations.vectors import VectorEncoder

N_HEADS = 4
KEY_SIZE = 32
SHARPNESS = 8.0  # of attention, to begin with: scores are cosines times this
NEARNESS = 3.0  # to begin with, an episode is about the entities near which it ended
CONSTANT = 0.01  # of its variance: what varies within episodes by no more than this is a look


class SetEncoder(ObservationEncoder):
    """m entities of e numbers each, in any order.

    Args:
        shape: m and e.
        fourier: frequencies of sines of each number, in units of pi.
        n_frames: in which an episode is remembered.
        width: of the layers that say what was relevant.
    """

    memory_shape = (N_HEADS, KEY_SIZE)
    lists = True
    frame_size = plain_size = 0

    def __init__(self, shape: tuple[int, ...], fourier: tuple[float, ...], n_frames: int, width: int) -> None:
        super().__init__()
        self._shape = shape
        self.numbers = VectorEncoder(shape[1], fourier)
        self.memory = EntityMemory(shape[1], n_frames, self.numbers.n_views, width)
        self.size, self.mean_size = shape[0] * self.numbers.size, shape[0] * shape[1]
        self.found_size = N_HEADS * shape[1]

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """One normaliser for all entities, and what of them is place or look (both, where no episode tells)."""
        entities = self._entities(observations)
        self.numbers.fit(entities.flatten(0, 1))
        if episodes is not None:
            self.memory.tell_apart(*place_and_look(entities, episodes))

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """All views of all entities, as they are listed."""
        return self._views(observations).flatten(-3)

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"]]:
        """Nothing, and the keys of the entities that the episodes were about."""
        return observations[..., :0], self.memory.remember(self._views(observations), kind)

    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
        """Normalised, as they are listed."""
        return self.numbers.normalise(self._entities(means)).flatten(-2)

    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], Float[Tensor, "*#n _q"]]:
        """Nothing, and the entities that answer the queries."""
        assert queries is not None
        return observations[..., :0], self.memory.find(self._views(observations), queries)

    def scale_by(self, mean: Float[Tensor, " o"], std: Float[Tensor, " o"]) -> None:
        """Normalise with the means of these over the entities."""
        self.numbers.scale_by(self._entities(mean).mean(0), self._entities(std).mean(0))

    @property
    def unit(self) -> Float[Tensor, " o"]:
        """The deviation, of every entity."""
        return self.numbers.unit.repeat(self._shape[0])

    def _entities(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n m e"]:
        return observations.unflatten(-1, self._shape)

    def _views(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n m v e"]:
        return self.numbers.views(self._entities(observations))


class EntityMemory(nn.Module):
    """Keys of looks; what to remember of an episode; where to find it again.

    `views` are the v numbers (plain, sines, cosines) that stand for each of the e numbers of an entity. The buffers
    `place` and `look` have 1 for numbers that say where an entity is, or how it looks, and 0 for others.
    """

    def __init__(self, entity_size: int, n_frames: int, n_views: int, width: int) -> None:
        super().__init__()
        self.register_buffer("place", torch.ones(entity_size))
        self.register_buffer("look", torch.ones(entity_size))
        self.key = nn.Linear(entity_size * n_views, KEY_SIZE)
        followed = n_frames * (entity_size * n_views + 1)
        self.relevance = nn.ModuleDict(
            {
                kind: nn.Sequential(nn.Linear(followed, width), nn.ReLU(), nn.Linear(width, N_HEADS))
                for kind in ("demo", "trial")
            }
        )
        self.nearness = nn.Parameter(torch.tensor(NEARNESS))
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))

    def tell_apart(self, place: Bool[Tensor, " e"], look: Bool[Tensor, " e"]) -> None:
        """From now on, these numbers say where an entity is, and those how it looks."""
        self.get_buffer("place").copy_(place)
        self.get_buffer("look").copy_(look)

    def keys(self, views: Float[Tensor, "*n m v e"]) -> Float[Tensor, "*n m c"]:
        """A unit vector per look."""
        return functional.normalize(self.key((views * self.get_buffer("look")).flatten(-2)), dim=-1)

    def remember(self, views: Float[Tensor, "b k f m v e"], kind: str) -> Float[Tensor, "b k h c"]:
        """Each head follows the entities through the frames and keeps the key of the one it finds relevant.

        `kind` is "demo" or "trial": different things count in them.
        """
        distance = (views[..., 0, :] * self.get_buffer("place")).norm(dim=-1).transpose(2, 3)
        followed = torch.cat([views.transpose(2, 3).flatten(3), distance], -1)
        weights = (self.relevance[kind](followed) - self.nearness * distance[..., -1:]).softmax(-2)
        return torch.einsum("bkmh,bkmc->bkhc", weights, self.keys(views[:, :, -1]))

    def find(self, views: Float[Tensor, "b #z t m v e"], queries: Float[Tensor, "b z h c"]) -> Float[Tensor, "b z t p"]:
        """Per head the entity whose look answers the query, in plain numbers (the first view)."""
        keys, plain = self.keys(views), views[..., 0, :]  # an axis of length 1 is broadcast
        weights = (self.sharpness * torch.einsum("bzhc,bztmc->bztmh", queries, keys)).softmax(-2)
        return torch.einsum("bztmh,bztmp->bzthp", weights, plain).flatten(-2)


def place_and_look(
    entities: Float[Tensor, "n m e"], episodes: Int[Tensor, " n"]
) -> tuple[Bool[Tensor, " e"], Bool[Tensor, " e"]]:
    """Which numbers say where an entity is, as they vary within episodes, and which how it looks, as they do not.

    A number that never varies is neither. Where either would be none, all numbers are both. Entities are compared in
    the order of each number, so that it does not matter in which order they are listed.
    """
    ordered = entities.double().sort(1).values
    mean = ordered.mean((0, 1))
    spread = (ordered - mean).square().mean((0, 1))
    counts = episodes.bincount().clamp(min=1)[:, None, None]
    sums = torch.zeros(len(counts), *ordered.shape[1:], dtype=ordered.dtype).index_add_(0, episodes, ordered)
    within = (ordered - (sums / counts)[episodes]).square().mean((0, 1))
    varied = spread > torch.finfo(torch.float32).eps ** 2 * entities.double().square().amax((0, 1))
    place, look = varied & (within > CONSTANT * spread), varied & (within <= CONSTANT * spread)
    both = torch.ones_like(varied)
    return (place, look) if place.any() and look.any() else (both, both)
