"""Trained experts: the shipped weights of a network (`experts/NAME.safetensors`), run in numpy.

Knows neither the task nor the training algorithm of an expert; both are in `experts/NAME.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig

FOLDER = Path(__file__).with_name("experts")


@dataclass(frozen=True, eq=False)
class Expert:
    """A multilayer perceptron with tanh between its layers; `layers` are weights `[out in]` and biases `[out]`."""

    layers: tuple[tuple[Array, Array], ...]

    def act(self, inputs: Float32[np.ndarray, "b i"]) -> Float32[np.ndarray, "b a"]:
        """The most probable action of each row, clipped to [-1, 1]."""
        *hidden, (weight, bias) = self.layers
        for matrix, offset in hidden:
            inputs = np.tanh(inputs @ matrix.T + offset)
        return np.clip(inputs @ weight.T + bias, -1.0, 1.0)

    def save(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write the weights to `path`, and their provenance to the `.json` beside it."""
        from safetensors.numpy import save_file

        tensors = {}
        for i, (weight, bias) in enumerate(self.layers):
            tensors[f"{i}.weight"], tensors[f"{i}.bias"] = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path)
        path.with_suffix(".json").write_text(json.dumps(provenance, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Expert":
        """Load an expert that `save` wrote. Raises InvalidConfig."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(path)
            n_layers = len(tensors) // 2
            return cls(tuple((tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(n_layers)))
        except (OSError, KeyError, SafetensorError) as error:
            raise InvalidConfig(f"{path} is not an expert: {error}") from error


def load_expert(name: str) -> Expert:
    """Load the shipped expert `name`. Raises InvalidConfig."""
    return Expert.load(FOLDER / f"{name}.safetensors")
