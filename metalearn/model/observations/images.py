"""A part that is a picture: read by a small convolutional network, or by a frozen one of the user's.

What an episode was about is remembered as a few keys of places in its last picture, and found by them in others, as
among entities (`metalearn.model.observations.entities`). Does not know what pictures show.
"""

import importlib
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from metalearn.config import SCRATCH
from metalearn.data.errors import InvalidConfig
from metalearn.model.observations.base import ObservationEncoder
from metalearn.model.observations.entities import KEY_SIZE, N_HEADS
from metalearn.model.observations.symbols import MOST_SYMBOLS

GRID = 16  # places per side, about, that the first convolution looks at, whatever the size of a picture
CHANNELS = (16, 32, 32)
READOUT = 64
SHARPNESS = 3.0  # of the softmax, to begin with: values of a map are in units of their deviation
BRIGHTEST = 255.0
KEY_SHARPNESS = 20.0
ATTENTION = 6.0  # to begin with, to what is unlike the rest of a picture
TINY = 1e-6
N_FITTED = 2048  # pictures that a normaliser is fitted to


class ImageEncoder(ObservationEncoder):
    """Features of pictures of shape `[h, w, c]`; `image_encoder` is that of `metalearn.config.ModelConfig`.

    With `memory`, and unless somebody else's network reads pictures, what an episode was about is remembered.
    """

    mean_size = 0

    def __init__(self, shape: tuple[int, ...], image_encoder: str, *, memory: bool = True) -> None:
        super().__init__()
        self._shape = shape
        h, w, c = shape
        self.network: PictureNetwork | FrozenNetwork = (
            PictureNetwork(h, w, c) if image_encoder == SCRATCH else FrozenNetwork(h, w, c, image_encoder)
        )
        self.size = self.plain_size = self.network.size
        self.frame_size = 2 * self.size
        self.memory: PlaceMemory | None = None
        if memory and isinstance(self.network, PictureNetwork):
            self.memory = PlaceMemory(*self.network.finest)
            self.memory_shape, self.found_size = (N_HEADS, KEY_SIZE), 3 * N_HEADS

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Fit the normaliser to some of the pictures, evenly spread."""
        self.network.fit(self._pictures(observations[:: 1 + len(observations) // N_FITTED]))

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """The features, all pictures in one call of the network."""
        return self.network(self._pictures(observations)).reshape(*observations.shape[:-1], self.size)

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """The features, and their change to the next frame (at the end: from the one before), not that of pixels.

        The keys are of the last frame.
        """
        features, patches = self._read(observations)
        changed = features[:, :, 1:] - features[:, :, :-1]
        seen = torch.cat([features, torch.cat([changed, changed[:, :, -1:]], 2)], -1)
        keys = None if self.memory is None else self.memory.remember(patches[:, :, 0], patches[:, :, -1], kind)
        return seen, keys

    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
        """Nothing: a mean of pictures is no picture."""
        return means[..., :0]

    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], Float[Tensor, "*#n _q"] | None]:
        """The features; per head the place of what answers the query, and how well it does."""
        features, patches = self._read(observations)
        if self.memory is None:
            return features, None
        assert queries is not None
        return features, self.memory.find(patches[:, 0], queries)

    def _read(self, observations: Float[Tensor, "*n o"]) -> tuple[Float[Tensor, "*n _p"], Float[Tensor, "*n m v"]]:
        """The features, and what is seen at each of m places; nothing, of a network that does not say it."""
        n, pictures = observations.shape[:-1], self._pictures(observations)
        if isinstance(self.network, FrozenNetwork):
            return self(observations), observations[..., :0, None]
        patches = self.network.patches(pictures)
        features = self.network.of_patches(patches).view(*n, self.size)
        return features, patches.flatten(2).transpose(1, 2).unflatten(0, n)

    def _pictures(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "p c h w"]:
        return observations.reshape(-1, *self._shape).permute(0, 3, 1, 2)


class PictureNetwork(nn.Module):
    """Convolutions; then the place of each channel's maximum (spatial softmax, Levine et al., 2016), and a dense layer.

    Strides follow from the size of the pictures: the first convolution looks at about `GRID` x `GRID` places, and the
    second at half as many per side, unless there are few.
    """

    def __init__(self, h: int, w: int, c: int) -> None:
        super().__init__()
        first, second, third = CHANNELS
        stride = max(1, round(min(h, w) / GRID))
        halve = min(h, w) // stride >= GRID // 2
        self.convolutions = nn.Sequential(
            nn.Conv2d(c, first, *_kernel(stride)),
            nn.ReLU(),
            nn.Conv2d(first, second, *_kernel(2 if halve else 1)),
            nn.ReLU(),
            nn.Conv2d(second, third, *_kernel(1)),
        )
        patches = self.convolutions[:2](torch.zeros(1, c, h, w))
        rows, columns = self.convolutions[2:](patches).shape[2:]
        self._n_places = rows * columns
        self.finest: tuple[int, int] = (patches.shape[2], patches.shape[3])
        self.register_buffer("places", _places(rows, columns), persistent=False)
        self.register_buffer("mean", torch.zeros(c))
        self.register_buffer("std", torch.ones(c))
        self.sharpness = nn.Parameter(torch.full((third, 1), SHARPNESS))
        self.dense = nn.Linear(third * self._n_places, READOUT)
        self.norm = nn.LayerNorm(READOUT)
        self.size = 2 * third + READOUT

    def fit(self, pictures: Float[Tensor, "n c h w"]) -> None:
        """Mean and deviation of each channel; a channel that is always alike is not magnified.

        What differs by less than one is alike, but where all numbers are small, as those of a map with many layers.
        """
        least = TINY if float(pictures.max()) < MOST_SYMBOLS else 1 / BRIGHTEST
        pictures = pictures / BRIGHTEST
        self.get_buffer("mean").copy_(pictures.mean((0, 2, 3)))
        std = pictures.std((0, 2, 3))
        self.get_buffer("std").copy_(std.where(std > least, torch.ones_like(std)))

    def forward(self, pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p"]:
        """Places `[n, 2 channels]` from -2 to 2, then the dense layer's numbers."""
        return self.of_patches(self.patches(pictures))

    def patches(self, pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n v rows columns"]:
        """What the first convolution sees at each place, `finest` of them."""
        mean, std = (self.get_buffer(name)[:, None, None] for name in ("mean", "std"))
        seen: Tensor = self.convolutions[:2](torch.addcmul(-mean / std, pictures, 1 / (BRIGHTEST * std)))
        return seen

    def of_patches(self, patches: Float[Tensor, "n v rows columns"]) -> Float[Tensor, "n p"]:
        """The features."""
        # As they come, maps of untrained convolutions are flat, and every place is the middle: nothing to learn from.
        maps = functional.layer_norm(self.convolutions[2:](patches).flatten(2), (self._n_places,))
        places = 2 * (self.sharpness * maps).softmax(-1) @ self.get_buffer("places")
        return torch.cat([places.flatten(1), self.norm(self.dense(maps.relu().flatten(1)))], -1)


class PlaceMemory(nn.Module):
    """Looks of `rows` x `columns` places of a picture: which to remember of an episode, and where to find them again.

    To begin with attention is where a picture differs from the rest of it. An episode is about where its last picture
    has changed: half of the heads keep what is to be seen there, and half what was there before somebody came.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.register_buffer("places", _places(rows, columns), persistent=False)
        self.look = nn.Linear(CHANNELS[0], KEY_SIZE, bias=False)
        self.offset = nn.Linear(CHANNELS[0], 2)
        self.seen_as = nn.Parameter(torch.eye(KEY_SIZE).repeat(N_HEADS, 1, 1))  # to begin with, like is found by like
        self.relevance = nn.ModuleDict({kind: nn.Linear(2 * KEY_SIZE, N_HEADS) for kind in ("demo", "trial")})
        self.attention = nn.Parameter(torch.tensor(ATTENTION))
        self.attention_to_change = nn.Parameter(torch.tensor(2 * ATTENTION))
        self.sharpness = nn.Parameter(torch.tensor(KEY_SHARPNESS))
        self._spacing = 2 / max(rows, columns)

    def remember(
        self, first: Float[Tensor, "b k m v"], last: Float[Tensor, "b k m v"], kind: str
    ) -> Float[Tensor, "b k h c"]:
        """Each head keeps the look of the place that it finds relevant, by what is seen there and what has changed.

        `kind` is "demo" or "trial".
        """
        before, now = self._looks(first), self._looks(last)
        became, rarity = now - before, _lengths(now)
        changed = _share_of_largest(rarity) * _share_of_largest(_lengths(became))
        relevant = self.relevance[kind](torch.cat([now, became], -1).relu()) + self.attention_to_change * changed
        earlier, later = relevant.softmax(-2).transpose(-1, -2).chunk(2, -2)
        looks = torch.cat([earlier @ before, later @ now], -2)
        return functional.normalize(torch.einsum("bkhl,hcl->bkhc", looks, self.seen_as), dim=-1)

    def find(self, patches: Float[Tensor, "b t m v"], queries: Float[Tensor, "b z h c"]) -> Float[Tensor, "b z t q"]:
        """Per head the place of what answers the query, between the places of the map, and how well it does."""
        apart = patches - patches.mean(-2, keepdim=True)
        # As looks are linear, what is as large as all places of all pictures is of patches, which are smaller.
        looked = self.look.weight
        lengths = ((apart @ (looked.t() @ looked)) * apart).sum(-1, keepdim=True).add(TINY).sqrt()
        apart = apart / lengths
        noticed = self.attention * _share_of_largest(lengths)
        # All queries of a task at once: per hypothesis the patches would be copied.
        wanted = (queries @ looked).flatten(1, 2)[:, None]
        answers = (self.sharpness * wanted) @ apart.transpose(-1, -2) + noticed.transpose(-1, -2)
        places = self.get_buffer("places") + self._spacing * self.offset(patches).tanh()
        places, answering = (answers.softmax(-1) @ torch.cat([places, apart], -1)).split([2, CHANNELS[0]], -1)
        found = torch.cat([places, (answering * wanted).sum(-1, keepdim=True)], -1)
        return found.unflatten(2, (-1, N_HEADS)).transpose(1, 2).flatten(-2)

    def _looks(self, patches: Float[Tensor, "*n m v"]) -> Float[Tensor, "*n m c"]:
        """In what each place differs from the others of its picture."""
        looks: Tensor = self.look(patches)
        return looks - looks.mean(-2, keepdim=True)


def _lengths(vectors: Float[Tensor, "*n m c"]) -> Float[Tensor, "*n m 1"]:
    return vectors.square().sum(-1, keepdim=True).add(TINY).sqrt()


def _share_of_largest(lengths: Float[Tensor, "*n m 1"]) -> Float[Tensor, "*n m 1"]:
    return lengths / lengths.amax(-2, keepdim=True)


class _Function(Protocol):
    def __call__(self) -> nn.Module: ...


class FrozenNetwork(nn.Module):
    """A network that `module:function` of the user's package returns; it is not trained, and stays as it is evaluated.

    It makes `[n, k]` of pictures `[n, c, h, w]` from 0 to 1. Features are normalised over the training data.

    Raises:
        InvalidConfig: no such function, or something else comes out.
    """

    def __init__(self, h: int, w: int, c: int, name: str) -> None:
        super().__init__()
        self.inner = _load(name).requires_grad_(False).eval()
        made = _tried(self.inner, c, h, w, name)
        if not isinstance(made, Tensor) or made.ndim != 2 or len(made) != 2:
            got = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise InvalidConfig(f"image_encoder: expected {name} to make [n, k] of [n, {c}, {h}, {w}], got {got}")
        self.size = made.shape[1]
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.ones(self.size))

    def fit(self, pictures: Float[Tensor, "n c h w"]) -> None:
        """Mean and deviation of each feature."""
        with torch.no_grad():
            features = torch.cat([self.inner(some / BRIGHTEST) for some in pictures.split(64)])
        std = features.std(0)
        self.get_buffer("mean").copy_(features.mean(0))
        self.get_buffer("std").copy_(std.where(std > 0, torch.ones_like(std)))

    def forward(self, pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p"]:
        """The features, normalised."""
        with torch.no_grad():
            return (self.inner(pictures / BRIGHTEST) - self.get_buffer("mean")) / self.get_buffer("std")

    def train(self, mode: bool = True) -> "FrozenNetwork":
        """Stay as it is: nothing in it learns, its statistics of batches neither."""
        super().train(mode)
        self.inner.eval()
        return self


def _tried(network: nn.Module, c: int, h: int, w: int, name: str) -> object:
    try:
        with torch.no_grad():
            return network(torch.zeros(2, c, h, w))
    except Exception as error:  # the user's code raises whatever it does
        sentence = " ".join(str(error).split())[:200]
        raise InvalidConfig(f"image_encoder: {name} does not read pictures [n, {c}, {h}, {w}]: {sentence}") from error


def _places(rows: int, columns: int) -> Float[Tensor, "m 2"]:
    y, x = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in (rows, columns))
    return torch.cartesian_prod(y, x)


def _kernel(stride: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of a convolution that looks at twice its stride, or at neighbours."""
    return (3, 1, 1) if stride == 1 else (2 * stride, stride, stride // 2)


def _load(name: str) -> nn.Module:
    module, _, function = name.partition(":")
    try:
        made: Any = getattr(importlib.import_module(module), function)()
    except Exception as error:  # the user's code raises whatever it does
        sentence = " ".join(str(error).split())[:200]
        raise InvalidConfig(f"image_encoder: {name!r} cannot be loaded: {type(error).__name__}: {sentence}") from error
    if not isinstance(made, nn.Module):
        raise InvalidConfig(f"image_encoder: expected {name} to return a torch.nn.Module, got {type(made).__name__}")
    return made
