"""A part that is a picture: read by a small convolutional network, or by a frozen one of the user's.

Does not know what pictures show, nor which of them are frames of one episode.
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

GRID = 16  # places per side, about, that the first convolution looks at, whatever the size of a picture
CHANNELS = (16, 32, 32)
READOUT = 64
SHARPNESS = 3.0  # of the softmax, to begin with: values of a map are in units of their deviation
BRIGHTEST = 255.0
N_FITTED = 2048  # pictures that a normaliser is fitted to


class ImageEncoder(ObservationEncoder):
    """Features of pictures of shape `[h, w, c]`; `image_encoder` is that of `metalearn.config.ModelConfig`."""

    mean_size = 0

    def __init__(self, shape: tuple[int, ...], image_encoder: str) -> None:
        super().__init__()
        self._shape = shape
        h, w, c = shape
        self.network: PictureNetwork | FrozenNetwork = (
            PictureNetwork(h, w, c) if image_encoder == SCRATCH else FrozenNetwork(h, w, c, image_encoder)
        )
        self.size = self.plain_size = self.network.size
        self.frame_size = 2 * self.size

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Fit the normaliser to some of the pictures, evenly spread."""
        self.network.fit(self._pictures(observations[:: 1 + len(observations) // N_FITTED]))

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """The features, all pictures in one call of the network."""
        return self.network(self._pictures(observations)).reshape(*observations.shape[:-1], self.size)

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], None]:
        """The features, and their change to the next frame (at the end: from the one before), not that of pixels."""
        features = self(observations)
        changed = features[:, :, 1:] - features[:, :, :-1]
        return torch.cat([features, torch.cat([changed, changed[:, :, -1:]], 2)], -1), None

    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
        """Nothing: a mean of pictures is no picture."""
        return means[..., :0]

    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], None]:
        """The features."""
        return self(observations), None

    def _pictures(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "p c h w"]:
        return observations.reshape(-1, *self._shape).permute(0, 3, 1, 2) / BRIGHTEST


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
        rows, columns = self.convolutions(torch.zeros(1, c, h, w)).shape[2:]
        self._n_places = rows * columns
        y, x = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in (rows, columns))
        self.register_buffer("places", torch.cartesian_prod(y, x), persistent=False)
        self.register_buffer("mean", torch.zeros(c))
        self.register_buffer("std", torch.ones(c))
        self.sharpness = nn.Parameter(torch.full((third, 1), SHARPNESS))
        self.dense = nn.Linear(third * self._n_places, READOUT)
        self.norm = nn.LayerNorm(READOUT)
        self.size = 2 * third + READOUT

    def fit(self, pictures: Float[Tensor, "n c h w"]) -> None:
        """Mean and deviation of each channel; a channel that is always alike is not magnified."""
        self.get_buffer("mean").copy_(pictures.mean((0, 2, 3)))
        std = pictures.std((0, 2, 3))
        self.get_buffer("std").copy_(std.where(std > 1 / BRIGHTEST, torch.ones_like(std)))

    def forward(self, pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p"]:
        """Places `[n, 2 channels]` from -2 to 2, then the dense layer's numbers."""
        mean, std = (self.get_buffer(name)[:, None, None] for name in ("mean", "std"))
        maps = self.convolutions(torch.addcmul(-mean / std, pictures, 1 / std)).flatten(2)
        # As they come, maps of untrained convolutions are flat, and every place is the middle: nothing to learn from.
        maps = functional.layer_norm(maps, (self._n_places,))
        places = 2 * (self.sharpness * maps).softmax(-1) @ self.get_buffer("places")
        return torch.cat([places.flatten(1), self.norm(self.dense(maps.relu().flatten(1)))], -1)


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
        with torch.no_grad():
            made = self.inner(torch.zeros(2, c, h, w))
        if not isinstance(made, Tensor) or made.ndim != 2 or len(made) != 2:
            got = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise InvalidConfig(f"image_encoder: expected {name} to make [n, k] of [n, {c}, {h}, {w}], got {got}")
        self.size = made.shape[1]
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.ones(self.size))

    def fit(self, pictures: Float[Tensor, "n c h w"]) -> None:
        """Mean and deviation of each feature."""
        with torch.no_grad():
            features = torch.cat([self.inner(some) for some in pictures.split(64)])
        std = features.std(0)
        self.get_buffer("mean").copy_(features.mean(0))
        self.get_buffer("std").copy_(std.where(std > 0, torch.ones_like(std)))

    def forward(self, pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p"]:
        """The features, normalised."""
        with torch.no_grad():
            return (self.inner(pictures) - self.get_buffer("mean")) / self.get_buffer("std")

    def train(self, mode: bool = True) -> "FrozenNetwork":
        """Stay as it is: nothing in it learns, its statistics of batches neither."""
        super().train(mode)
        self.inner.eval()
        return self


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
