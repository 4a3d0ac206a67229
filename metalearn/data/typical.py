"""Which of many demonstrations to show as an example: the one that is most like all others.

Knows neither models nor tasks.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from jaxtyping import Float

from metalearn.data.episode import Episode
from metalearn.data.parts import observation_vectors

MOST = 64
"""Demonstrations that are looked at: enough to know what is usual."""
N_FRAMES = 6


def typical(demos: Iterable[Episode]) -> Episode | None:
    """Return the demonstration that is nearest to the middle of all; None if there are none.

    Failed ones are left out, unless all have failed. A demonstration is compared by N_FRAMES of its observations at
    equal distances in time, with every number on the scale on which it varies.
    """
    found = list(islice(demos, MOST))
    shown = [demo for demo in found if demo.success is not False] or found
    if not shown:
        return None
    seen = _frames(shown)
    spread = seen.std(axis=0)
    scaled = (seen - seen.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return shown[int(np.square(scaled).sum(axis=1).argmin())]


def _frames(demos: Sequence[Episode]) -> Float[np.ndarray, "n f"]:
    rows = []
    for demo in demos:
        at = np.linspace(0, len(demo), N_FRAMES).round().astype(int)
        rows.append(observation_vectors(demo.observations[at]).astype(np.float64).ravel())
    return np.stack(rows)
