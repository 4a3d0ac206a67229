"""Observations of several parts: each part is read by an encoder of its own, and networks see them side by side."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from metalearn.data.errors import InvalidConfig
from metalearn.data.spaces import Part, beside_pictures
from metalearn.model.observations.base import ObservationEncoder


class PartsEncoder(ObservationEncoder):
    """What the encoders of `parts` make of them, one after the other; their memories are one memory with all heads.

    Raises:
        InvalidConfig: memories whose keys are of different sizes.
    """

    def __init__(self, parts: Sequence[Part], encoders: Sequence[ObservationEncoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(encoders)
        self._numbers = [part.numbers for part in parts]
        self._plain = [len(beside_pictures([part])) for part in parts]
        self.size, self.frame_size, self.mean_size, self.plain_size, self.found_size = (
            sum(getattr(encoder, f"{name}_size" if name else "size") for encoder in encoders)
            for name in ("", "frame", "mean", "plain", "found")
        )
        shapes = [encoder.memory_shape for encoder in encoders if encoder.memory_shape]
        self._heads = [encoder.memory_shape[0] if encoder.memory_shape else 0 for encoder in encoders]
        if len({key_size for _, key_size in shapes}) > 1:
            raise InvalidConfig(f"memories: expected keys of one size, got {[size for _, size in shapes]}")
        self.lists = any(encoder.lists for encoder in encoders)
        self.memory_shape = (sum(self._heads), shapes[0][1]) if shapes else None

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Fit each to its own numbers."""
        for encoder, numbers in self._each():
            encoder.fit(observations[:, numbers], episodes)

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """All parts."""
        return torch.cat([encoder(observations[..., numbers]) for encoder, numbers in self._each()], -1)

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """All parts of the frames, and the keys of all memories."""
        changed = changes.split(self._plain, -1)
        made = [
            encoder.read(observations[..., numbers], own, kind)
            for (encoder, numbers), own in zip(self._each(), changed, strict=True)
        ]
        keys = [one for _, one in made if one is not None]
        return torch.cat([seen for seen, _ in made], -1), torch.cat(keys, -2) if keys else None

    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
        """All parts."""
        own = means.split(self._plain, -1)
        return torch.cat([encoder.read_means(one) for (encoder, _), one in zip(self._each(), own, strict=True)], -1)

    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], Float[Tensor, "*#n _q"] | None]:
        """All parts, and what each memory finds."""
        asked = [None] * len(self._heads) if queries is None else queries.split(self._heads, -2)
        made = [
            encoder.look(observations[..., numbers], query if encoder.memory_shape else None)
            for (encoder, numbers), query in zip(self._each(), asked, strict=True)
        ]
        found = [one for _, one in made if one is not None]
        return torch.cat([plain for plain, _ in made], -1), torch.cat(found, -1) if found else None

    def scale_by(self, mean: Float[Tensor, " o"], std: Float[Tensor, " o"]) -> None:
        """Each that normalises by its own numbers."""
        for encoder, numbers in self._each():
            encoder.scale_by(mean[numbers], std[numbers])

    @property
    def unit(self) -> Float[Tensor, " o"]:
        """Of all parts. Raises InvalidConfig if one of them is no vector."""
        return torch.cat([encoder.unit for encoder, _ in self._each()])

    def _each(self) -> list[tuple[ObservationEncoder, slice]]:
        return list(zip(cast("Iterable[ObservationEncoder]", self.parts), self._numbers, strict=True))
