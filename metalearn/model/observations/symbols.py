"""A part that is a map of symbols in the shape of a picture: cells are looked up, and found again by what is in them.

What an episode was about is remembered as a few keys of cells, and found by them in other maps, as among entities
(`metalearn.model.observations.entities`).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from metalearn.model.observations.base import ObservationEncoder
from metalearn.model.observations.entities import KEY_SIZE, N_HEADS, SHARPNESS

CELL = 16  # numbers that a cell is read as
WIDTH = 64
READOUT = 128


class SymbolEncoder(ObservationEncoder):
    """Maps `[h, w, c]`, whose numbers are symbols: those below `n_symbols`, and one more that stands for all others.

    Every cell is looked up by what is in its channels: what can be in a cell is read once for all cells. A dense layer
    reads whole maps. Of an episode its last map is remembered: each head keeps the key of the cell that it finds
    relevant, as it sees it (one may see colours, and another shapes), and looks for a cell like it.
    """

    mean_size = 0
    size = plain_size = READOUT
    frame_size = 2 * READOUT
    found_size = 3 * N_HEADS
    memory_shape = (N_HEADS, KEY_SIZE)

    def __init__(self, shape: tuple[int, ...], n_symbols: int) -> None:
        super().__init__()
        (h, w, c), n = shape, n_symbols + 1
        combinations = torch.cartesian_prod(*[torch.arange(n)] * c).view(-1, c)
        self._shape, self._other = (h * w, c), n_symbols
        self.register_buffer("what", functional.one_hot(combinations, n).flatten(1).float(), persistent=False)
        self.register_buffer("radix", n ** torch.arange(c - 1, -1, -1), persistent=False)
        y, x = (torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in (h, w))
        self.register_buffer("places", torch.cartesian_prod(y, x), persistent=False)
        self.cells = nn.Sequential(nn.Linear(c * n, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CELL), nn.LayerNorm(CELL))
        self.dense = nn.Linear(h * w * CELL, READOUT)
        self.norm = nn.LayerNorm(READOUT)
        self.key, self.seen_as = nn.Linear(CELL, KEY_SIZE), nn.Linear(CELL, N_HEADS * KEY_SIZE)
        self.relevance = nn.ModuleDict({kind: nn.Linear(CELL, N_HEADS) for kind in ("demo", "trial")})
        self.relevant_places = nn.Parameter(torch.zeros(h * w, N_HEADS))
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Do nothing: symbols are in no unit."""

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """What the dense layer reads."""
        cells = functional.embedding(self._looked_up(observations), self._table())
        read: Tensor = self.norm(self.dense(cells.flatten(-2)))
        return read

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f o"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"]]:
        """Features and their change to the next frame (at the end: from the one before), and keys of the last map."""
        features = self(observations)
        changed = features[:, :, 1:] - features[:, :, :-1]
        seen = torch.cat([features, torch.cat([changed, changed[:, :, -1:]], 2)], -1)
        table, last = self._table(), self._looked_up(observations[:, :, -1])
        weights = (functional.embedding(last, self.relevance[kind](table)) + self.relevant_places).softmax(-2)
        keys = functional.normalize(self.seen_as(table).unflatten(-1, self.memory_shape), dim=-1)
        kept = functional.embedding(last, keys.flatten(1)).unflatten(-1, self.memory_shape)
        return seen, torch.einsum("bkmh,bkmhc->bkhc", weights, kept)

    def read_means(self, means: Float[Tensor, "b k f o"]) -> Float[Tensor, "b k f _p"]:
        """Nothing: a mean of symbols is no symbol."""
        return means[..., :0]

    def look(
        self, observations: Float[Tensor, "b #z t o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "b #z t _p"], Float[Tensor, "b z t _q"]]:
        """The features; per head the place of the cell that answers the query, and how well it does."""
        assert queries is not None
        keys = functional.normalize(self.key(self._table()), dim=-1)
        kept = functional.embedding(self._looked_up(observations), keys)
        answers = torch.einsum("bzhc,bztmc->bztmh", queries, kept)
        weights = (self.sharpness * answers).softmax(-2)
        places = torch.einsum("bztmh,mp->bzthp", weights, self.get_buffer("places"))
        found = torch.cat([places, (weights * answers).sum(-2)[..., None]], -1)
        return self(observations), found.flatten(-2)

    def _table(self) -> Float[Tensor, "n e"]:
        table: Tensor = self.cells(self.get_buffer("what"))
        return table

    def _looked_up(self, observations: Float[Tensor, "*n o"]) -> Int[Tensor, "*n m"]:
        """The row of the table of each cell."""
        symbols = observations.unflatten(-1, self._shape).round().long()
        known = symbols.where(symbols < self._other, torch.full_like(symbols, self._other))
        return (known * self.get_buffer("radix")).sum(-1)
