"""A part that is a choice among n, or several such choices: one-hot, and in no unit."""

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from metalearn.model.observations.base import ObservationEncoder


class CategoryEncoder(ObservationEncoder):
    """k choices, the i-th of them one of `counts[i]` from `lowest[i]` on. What is none of them is zeros."""

    mean_size = 0

    def __init__(self, lowest: Shaped[np.ndarray, "*k"], counts: Shaped[np.ndarray, "*k"]) -> None:
        super().__init__()
        pairs = list(zip(lowest.ravel().tolist(), counts.ravel().tolist(), strict=True))
        components = torch.cat([torch.full((count,), i) for i, (_, count) in enumerate(pairs)])
        values = torch.cat([torch.arange(low, low + count) for low, count in pairs])
        self.register_buffer("components", components, persistent=False)
        self.register_buffer("values", values.float(), persistent=False)
        self.size = self.plain_size = len(values)
        self.frame_size = self.size + len(pairs)

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Do nothing: the space says what there is to choose."""

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """One column per value of each component."""
        chosen = observations[..., self.get_buffer("components")]
        return ((chosen - self.get_buffer("values")).abs() < 0.5).to(observations.dtype)

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], None]:
        """The choices, and whether they changed."""
        return torch.cat([self(observations), (changes.abs() > 0.5).to(observations.dtype)], -1), None

    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
        """Nothing: the mean of two choices is a third one."""
        return means[..., :0]

    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], None]:
        """The choices."""
        return self(observations), None
