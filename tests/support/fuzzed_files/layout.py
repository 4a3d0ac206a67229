"""What a format is to the fuzzing, and the numbers that its recordings are made of."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from support.fuzzed_files import told
from support.fuzzed_files.told import Array, Contradiction, Recording, Tree

FLAT = spaces.Box(-np.inf, np.inf, (told.OBSERVATION_SIZE,), np.float32)
Rng = np.random.Generator


@dataclass(frozen=True)
class Layout:
    """A format: `make` a tree, `write` it into a folder and give its source, `load` it, `tell` what it says.

    `observations` are the keys that are read, and `observation_space` is that of the model that they are for.
    """

    make: Callable[[Rng], Tree]
    write: Callable[[Tree, Path], str]
    load: Callable[[Path], Tree]
    tell: Callable[[Tree], Recording]
    observations: tuple[str, ...] = ()
    observation_space: spaces.Space[Any] = field(default_factory=lambda: FLAT)


def arrays(rng: Rng, n: int) -> dict[str, Array]:
    """The arrays of one episode, of numbers that JSON and every float hold as they are."""
    return {
        "observations": rng.integers(-99, 99, (n + 1, told.OBSERVATION_SIZE)).astype(np.float32) / 8,
        "actions": rng.integers(-8, 9, (n, told.ACTION_SIZE)).astype(np.float32) / 8,
        "rewards": rng.integers(0, 2, n).astype(np.float32),
    }


def lengths(rng: Rng) -> list[int]:
    """Steps of two or three episodes; none is the size of an observation or of an action."""
    return [int(n) for n in rng.integers(6, 10, rng.integers(2, 4))]


def load_json(data: bytes) -> Any:
    """A JSON value, also after a byte order mark. Raises ValueError, Contradiction: a name is there twice."""
    return json.loads(data.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Contradiction
    return dict(pairs)
