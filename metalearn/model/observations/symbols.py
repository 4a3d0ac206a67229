"""A part that is a map of symbols in the shape of a picture: cells are looked up, and found again by what is in them.

What an episode was about is remembered as a few keys of cells, and found by them in other maps, as among entities
(`metalearn.model.observations.entities`).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from metalearn.data.errors import InvalidConfig
from metalearn.model.observations.base import ObservationEncoder
from metalearn.model.observations.entities import KEY_SIZE, N_HEADS, SHARPNESS

CELL = 16  # numbers that a cell is read as
MOST_SYMBOLS = 16  # that a picture of symbols holds: in a real one there is something brighter
MOST_NUMBERS = 100_000_000  # in the table of what can be in a cell: more take the memory of the machine
WIDTH = 64
READOUT = 128


def n_rows(n_symbols: int, n_channels: int) -> int:
    """Everything that can be in a cell, whose channels have one of so many symbols each, or another number."""
    return int((n_symbols + 1) ** n_channels)


class SymbolEncoder(ObservationEncoder):
    """Maps `[h, w, c]`, whose numbers are symbols: those below `n_symbols`, and one more that stands for all others.

    Every cell is looked up by what is in its channels: what can be in a cell is read once for all cells. A dense layer
    reads whole maps. Of an episode its last map is remembered: each head keeps the key of the cell that it finds
    relevant, as it sees it (one may see colours, and another shapes), and looks for a cell like it.

    Raises:
        InvalidConfig: more channels or symbols than can be looked up.
    """

    mean_size = 0
    size = plain_size = READOUT
    frame_size = 2 * READOUT
    found_size = 3 * N_HEADS
    memory_shape = (N_HEADS, KEY_SIZE)
    lists = True

    def __init__(self, shape: tuple[int, ...], n_symbols: int) -> None:
        super().__init__()
        (h, w, c), n = shape, n_symbols + 1
        if (most := MOST_NUMBERS // (n * c)) < n_rows(n_symbols, c):
            expected = f"at most {most:,} combinations of what is in the {c} channels of a cell"
            raise InvalidConfig(f"model.symbols: expected {expected}, got {n} to the power of {c}")
        combinations = torch.cartesian_prod(*[torch.arange(n)] * c).view(-1, c)
        self._shape, self._other = (h * w, c), n_symbols
        self.register_buffer("what", functional.one_hot(combinations, n).flatten(1).float(), persistent=False)
        self.register_buffer("radix", n ** torch.arange(c - 1, -1, -1), persistent=False)
        y, x = (torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in (h, w))
        self.register_buffer("places", torch.cartesian_prod(y, x), persistent=False)
        self.cells = nn.Sequential(nn.Linear(c * n, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CELL), nn.LayerNorm(CELL))
        self.dense = nn.Linear(h * w * CELL, READOUT)
        self.norm = nn.LayerNorm(READOUT)
        self.register_buffer("rarity", torch.zeros(len(combinations)))
        self.key, self.seen_as = nn.Linear(CELL, KEY_SIZE), nn.Linear(CELL, N_HEADS * KEY_SIZE)
        with torch.no_grad():  # to begin with, like is found by like
            self.seen_as.weight.copy_(self.key.weight.repeat(N_HEADS, 1))
            self.seen_as.bias.copy_(self.key.bias.repeat(N_HEADS))
        self.relevance = nn.ModuleDict({kind: nn.Linear(CELL, N_HEADS) for kind in ("demo", "trial")})
        self.relevant_places = nn.Parameter(torch.zeros(h * w, N_HEADS))
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        self.attention_to_rarity = nn.Parameter(torch.tensor(1.0))

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Find out how rare everything is that can be in a cell: episodes are seldom about floors and walls."""
        rows = self._looked_up(observations).flatten()
        counts = torch.bincount(rows, minlength=len(self.get_buffer("rarity"))) + 1.0
        self.get_buffer("rarity").copy_(-(counts / counts.sum()).log())

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """What the dense layer reads."""
        cells = functional.embedding(self._looked_up(observations), self._table())
        read: Tensor = self.norm(self.dense(cells.flatten(-2)))
        return read

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"]]:
        """Features and their change to the next frame (at the end: from the one before), and keys of the last map."""
        features = self(observations)
        changed = features[:, :, 1:] - features[:, :, :-1]
        seen = torch.cat([features, torch.cat([changed, changed[:, :, -1:]], 2)], -1)
        table, last = self._table(), self._looked_up(observations[:, :, -1])
        relevant = self.relevance[kind](table) + self._noticed()
        weights = (functional.embedding(last, relevant) + self.relevant_places).softmax(-2)
        keys = functional.normalize(self.seen_as(table).unflatten(-1, self.memory_shape), dim=-1)
        return seen, torch.einsum("bkmh,bkmhc->bkhc", weights, keys[last])

    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
        """Nothing: a mean of symbols is no symbol."""
        return means[..., :0]

    def look(
        self, observations: Float[Tensor, "b #z t o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "b #z t _p"], Float[Tensor, "b z t _q"]]:
        """The features; per head the place of the cell that answers the query, and how well it does."""
        assert queries is not None
        keys, rows = functional.normalize(self.key(self._table()), dim=-1), self._looked_up(observations)
        answers = torch.einsum("bzhc,bztmc->bztmh", queries, functional.embedding(rows, keys))
        weights = (self.sharpness * answers + functional.embedding(rows, self._noticed())).softmax(-2)
        places = torch.einsum("bztmh,mp->bzthp", weights, self.get_buffer("places"))
        found = torch.cat([places, (weights * answers).sum(-2)[..., None]], -1)
        return self(observations), found.flatten(-2)

    def _noticed(self) -> Float[Tensor, "n 1"]:
        """How much attention what is in a cell gets for being rare."""
        return (self.attention_to_rarity * self.get_buffer("rarity"))[:, None]

    def _table(self) -> Float[Tensor, "n e"]:
        table: Tensor = self.cells(self.get_buffer("what"))
        return table

    def _looked_up(self, observations: Float[Tensor, "*n o"]) -> Int[Tensor, "*n m"]:
        """The row of the table of each cell."""
        symbols = observations.unflatten(-1, self._shape).round().long().clamp(0, self._other)
        return (symbols * self.get_buffer("radix")).sum(-1)
