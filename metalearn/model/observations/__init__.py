"""The one door through which networks read observations: an encoder, chosen from the observation space.

Everything else hands observations on as vectors (`metalearn.data.spec.observation_vectors`) and looks into none.
"""

from metalearn.config import ModelConfig
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.model.observations.base import ObservationEncoder
from metalearn.model.observations.entities import EntitySetEncoder
from metalearn.model.observations.vectors import UnclippedVectorEncoder, VectorEncoder

__all__ = [
    "EntitySetEncoder",
    "ObservationEncoder",
    "UnclippedVectorEncoder",
    "VectorEncoder",
    "make_baseline_encoder",
    "make_observation_encoder",
]


def make_observation_encoder(spec: Spec, config: ModelConfig) -> ObservationEncoder:
    """What the policy reads the observations of `spec` with."""
    if config.entities is not None:
        layout, size = config.entities, spec.observation_size
        if layout.start + layout.count * layout.size > size or layout.place >= layout.size:
            end = layout.start + layout.count * layout.size
            got = f"{layout.place} of {layout.size} that are places, up to number {end}"
            raise InvalidConfig(f"entities: expected places and looks within {size} numbers, got {got}")
        return EntitySetEncoder(spec.observation_size, config.fourier, config.entities, config)
    return VectorEncoder(spec.observation_size, config.fourier)


def make_baseline_encoder(spec: Spec, fourier: tuple[float, ...] = (), ddof: int = 0) -> ObservationEncoder:
    """What the networks of the baselines read the observations of `spec` with."""
    return UnclippedVectorEncoder(spec.observation_size, fourier, ddof)
