"""What networks take of observations, whatever these are: sizes and features. Nothing else looks into one."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn

from metalearn.data.errors import InvalidConfig


class ObservationEncoder(nn.Module, ABC):
    """Observations `[..., o]` as networks take them; each kind of part of an observation has its subclass.

    Attributes:
        size: numbers that `forward` makes of an observation.
        frame_size: numbers that `read` makes of a frame.
        mean_size: numbers that `read_means` makes of a frame.
        plain_size: numbers that `look` makes of an observation, beside what was looked for.
        found_size: numbers of what was looked for.
        memory_shape: `(h, c)`: h keys of c numbers are remembered of an episode and looked for; None: none are.
        lists: whether what is looked for is in a list, where a hypothesis says which of it is meant and nothing else.
    """

    size: int
    frame_size: int
    mean_size: int
    plain_size: int
    found_size: int = 0
    memory_shape: tuple[int, int] | None = None
    lists: bool = False

    @abstractmethod
    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Fit what is fitted rather than trained, such as a normaliser, to training observations.

        `episodes` are the numbers of the episodes that they are from, if that is known.
        """

    @abstractmethod
    def forward(self, observations: Float[Tensor, "*n o"]) -> Float[Tensor, "*n _p"]:
        """All that a network needs that reads one observation at a time."""

    @abstractmethod
    def read(
        self, observations: Float[Tensor, "b k f o"], changes: Float[Tensor, "b k f m"], kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """What the context encoder sees of frames and of their changes, and keys of what episodes were about.

        Changes, as means, are of the m numbers that are no pixels. `kind` is "demo" or "trial".
        """

    @abstractmethod
    def read_means(self, means: Float[Tensor, "b k f m"]) -> Float[Tensor, "b k f _p"]:
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
