"""The one door through which networks read observations: an encoder, chosen from the observation space.

Everything else hands observations on as vectors (`metalearn.data.spaces.observation_vectors`) and looks into none.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metalearn.config import EntityLayout, ModelConfig
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.data.units import EPSILON
from metalearn.model.entities import KEY_SIZE, N_HEADS, EntityMemory, split


def make_observation_encoder(spec: Spec, config: ModelConfig) -> "ObservationEncoder":
    """What the policy reads the observations of `spec` with."""
    if config.entities is not None:
        layout, size = config.entities, spec.observation_size
        if layout.start + layout.count * layout.size > size or layout.place >= layout.size:
            end = layout.start + layout.count * layout.size
            got = f"{layout.place} of {layout.size} that are places, up to number {end}"
            raise InvalidConfig(f"entities: expected places and looks within {size} numbers, got {got}")
        return EntitySetEncoder(spec.observation_size, config.fourier, config.entities, config)
    return VectorEncoder(spec.observation_size, config.fourier)


def make_baseline_encoder(spec: Spec, fourier: tuple[float, ...] = (), ddof: int = 0) -> "ObservationEncoder":
    """What the networks of the baselines read the observations of `spec` with."""
    return UnclippedVectorEncoder(spec.observation_size, fourier, ddof)


class ObservationEncoder(nn.Module, ABC):
    """Observations `[..., o]` as networks take them.

    Another kind of observation is a subclass of this, and a line in the functions above.

    Attributes:
        size: numbers that `forward` makes of an observation.
        frame_size: numbers that `read` makes of a frame.
        mean_size: numbers that `read_means` makes of a frame.
        plain_size: numbers that `look` makes of an observation, beside what was looked for.
        found_size: numbers of what was looked for.
        memory_shape: `(h, c)`: h keys of c numbers are remembered of an episode and looked for; None: none are.
    """

    size: int
    frame_size: int
    mean_size: int
    plain_size: int
    found_size: int = 0
    memory_shape: tuple[int, int] | None = None

    @abstractmethod
    def fit(self, observations: Float[Tensor, "n o"]) -> None:
        """Fit what is fitted rather than trained, such as a normaliser, to training observations."""

    @abstractmethod
    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """All that a network needs that reads one observation at a time."""

    @abstractmethod
    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f o"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """What the context encoder sees of frames and of their changes, and keys of what episodes were about.

        `kind` is "demo" or "trial".
        """

    @abstractmethod
    def read_means(self, means: Float[Tensor, "b k f o"]) -> Float[Tensor, "b k f _p"]:
        """What the context encoder sees of means of observations."""

    @abstractmethod
    def look(
        self, observations: Float[Tensor, "*#n o"], queries: Float[Tensor, "b z h c"] | None
    ) -> tuple[Float[Tensor, "*#n _p"], Float[Tensor, "*#n _q"] | None]:
        """What the policy sees, each number of which it can gate, and what answers its queries."""

    def scale_by(self, mean: Float[Tensor, " o"], std: Float[Tensor, " o"]) -> None:
        """Normalise with these moments of vectors from now on, if this is an encoder that normalises vectors."""

    @property
    def unit(self) -> Float[Tensor, " o"]:
        """Of each number of an observation, for dynamics (`metalearn.model.dynamics`).

        Raises:
            InvalidConfig: dynamics make no sense for these observations.
        """
        raise InvalidConfig("dynamics_rank: expected 0 for observations that are no vectors")


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

    def fit(self, observations: Float[Tensor, "n o"]) -> None:
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
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f o"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """Views, and changes in units of the deviation."""
        return torch.cat([self(observations), changes / self.unit], -1), None

    def read_means(self, means: Float[Tensor, "b k f o"]) -> Float[Tensor, "b k f _p"]:
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

    def fit(self, observations: Float[Tensor, "n o"]) -> None:
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
