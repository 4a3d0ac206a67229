"""The one door through which networks read observations: an encoder, chosen from the observation space.

Everything else hands observations on as vectors (`metalearn.data.spaces.observation_vectors`) and looks into none.
"""

from metalearn.config import SCRATCH, ModelConfig
from metalearn.data.spaces import Part, choices
from metalearn.data.spec import Spec
from metalearn.model.observations.base import ObservationEncoder
from metalearn.model.observations.categories import CategoryEncoder
from metalearn.model.observations.entities import SetEncoder
from metalearn.model.observations.images import ImageEncoder
from metalearn.model.observations.parts import PartsEncoder
from metalearn.model.observations.symbols import SymbolEncoder
from metalearn.model.observations.vectors import UnclippedVectorEncoder, VectorEncoder

__all__ = [
    "CategoryEncoder",
    "ImageEncoder",
    "ObservationEncoder",
    "PartsEncoder",
    "SetEncoder",
    "SymbolEncoder",
    "UnclippedVectorEncoder",
    "VectorEncoder",
    "make_baseline_encoder",
    "make_observation_encoder",
]


def make_observation_encoder(spec: Spec, config: ModelConfig) -> ObservationEncoder:
    """What the policy reads the observations of `spec` with: vectors as one, any other part by its kind."""
    pictures = [part.name for part in spec.pictures]
    n_symbols = dict(zip(pictures, config.symbols, strict=False))

    def encoder_of(part: Part) -> ObservationEncoder:
        match part.kind:
            case "set":
                return SetEncoder(part.shape, config.fourier, config.n_frames, config.encoder_width)
            case "image" if n_symbols.get(part.name):
                return SymbolEncoder(part.shape, n_symbols[part.name])
            case "image":
                return ImageEncoder(part.shape, config.image_encoder)
            case "category":
                return CategoryEncoder(*choices(part.space))
            case "vector":
                return VectorEncoder(part.size, config.fourier)

    if all(part.kind == "vector" for part in spec.parts):
        return VectorEncoder(spec.observation_size, config.fourier)
    return PartsEncoder(spec.parts, [encoder_of(part) for part in spec.parts])


def make_baseline_encoder(spec: Spec, fourier: tuple[float, ...] = (), ddof: int = 0) -> ObservationEncoder:
    """What the networks of the baselines read the observations of `spec` with; entities are numbers to them."""

    def encoder_of(part: Part) -> ObservationEncoder:
        match part.kind:
            case "image":
                return ImageEncoder(part.shape, SCRATCH, memory=False)
            case "category":
                return CategoryEncoder(*choices(part.space))
            case "set" | "vector":
                return UnclippedVectorEncoder(part.size, fourier, ddof)

    if all(part.kind in ("set", "vector") for part in spec.parts):
        return UnclippedVectorEncoder(spec.observation_size, fourier, ddof)
    return PartsEncoder(spec.parts, [encoder_of(part) for part in spec.parts])
