"""Numbers as networks take them: normalised, with their sines. Does not know what they are numbers of."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from metalearn.data.units import EPSILON
from metalearn.model.observations.base import ObservationEncoder


class VectorEncoder(ObservationEncoder):
    """Numbers, normalised and clipped, with their sines and cosines: layouts that differ little must look different."""

    clip = 5.0
    """Standard deviations."""

    def __init__(self, observation_size: int, fourier: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(observation_size))
        self.register_buffer("std", torch.ones(observation_size))
        self.register_buffer("frequencies", torch.tensor(fourier) * torch.pi, persistent=False)
        self.n_views = 1 + 2 * len(fourier)
        self.size = observation_size * self.n_views
        self.frame_size = self.size + observation_size
        self.mean_size = self.plain_size = observation_size

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Take mean and deviation from training observations, whatever their units; constant components are ignored."""
        self.scale_by(*_mean_and_deviation(observations, correction=1))

    def scale_by(self, mean: Float[Tensor, " o"], std: Float[Tensor, " o"]) -> None:
        """Normalise with these from now on."""
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("std").copy_(std)

    def normalise(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n o"]:
        """Zero mean and unit deviation over the training data, clipped."""
        return ((observations - self.get_buffer("mean")) / self.get_buffer("std")).clamp(-self.clip, self.clip)

    def views(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n v o"]:
        """v views of each number: normalised, then its sines, then its cosines."""
        normal = self.normalise(observations)[..., None, :]
        phases = normal * self.get_buffer("frequencies")[:, None]
        return torch.cat([normal, phases.sin(), phases.cos()], -2)

    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """All views in one vector."""
        return self.views(observations).flatten(-2)

    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """Views, and changes in units of the deviation, clipped farther out: what hardly varied may jump in a trial."""
        jump = 4 * self.clip
        return torch.cat([self(observations), (changes / self.unit).clamp(-jump, jump)], -1), None

    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
        """Normalised."""
        return self.normalise(means)

    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], Float[Tensor, "*#n _q"] | None]:
        """Normalised; nothing is looked for."""
        return self.normalise(observations), None

    @property
    def unit(self) -> Float[Tensor, " o"]:
        """The deviation."""
        return self.get_buffer("std")


class UnclippedVectorEncoder(VectorEncoder):
    """The same without clipping, and with another normaliser: the baselines were measured with it."""

    clip = float("inf")

    def __init__(self, observation_size: int, fourier: tuple[float, ...], ddof: int) -> None:
        super().__init__(observation_size, fourier)
        self._ddof = ddof

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Take mean and deviation from training observations; constant components are ignored."""
        self.scale_by(*_mean_and_deviation(observations, self._ddof))


def _mean_and_deviation(
    observations: Float[Tensor, "n o"], correction: int
) -> tuple[Float[Tensor, " o"], Float[Tensor, " o"]]:
    """In double precision. What never varied says nothing, in any unit: divided by the largest number it is 0."""
    exact = observations.double()
    std = exact.std(0, correction=correction) if len(exact) > correction else torch.zeros_like(exact[0])
    constant = std <= EPSILON * exact.abs().amax(0)
    return exact.mean(0), std.masked_fill(constant, torch.finfo(torch.float32).max)
