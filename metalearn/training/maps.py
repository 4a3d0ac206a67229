"""A map of what was achieved: which places lead to which in how few steps, as all episodes together show.

Two episodes that share a place show ways that neither of them went. Knows paths of achieved goals, nothing of
observations, actions or tasks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from metalearn.data.units import deviation

MOST_PLACES = 1024
SHARING = 32  # moments for each place: of fewer no two episodes share one
AMONG = 16_384  # moments that places are chosen from
QUICK, DIRECT = 0.9, 0.8  # which of all ways is a quick one, and how quick beside it is whoever makes no detour
MEASURED = 4096  # ways, to find out how quick that is
PURPOSEFUL = 4  # places that a way crosses at least which leads somewhere: who stays in one also moves a little
DRAWS = 16  # of a way, until one leads somewhere: of who mostly stays where he is few do
ONWARDS = 0.9  # of the steps to where a way leads that it must save on the way to what lies beyond


@dataclass(frozen=True, eq=False)
class Map:
    """Places, and the fewest steps between them.

    Attributes:
        places: goals that were achieved, far from each other.
        unit: of each of their numbers.
        steps: from the first place to the second, along ways that were gone in some episode; infinite without one.
        grain: steps in which a place is crossed, in the middle: what is shorter is not on the map.
        pace: steps of the map that a step of whoever goes straight on counts: less than one, as the quickest of many
            ways is quick by luck, and less the more ways there are.
    """

    places: Float32[np.ndarray, "m g"]
    unit: Float[np.ndarray, " g"]
    steps: Float32[np.ndarray, "m m"]
    grain: float
    pace: float = 1.0

    @classmethod
    def of(cls, paths: Sequence[Float32[np.ndarray, "_t g"]], rng: np.random.Generator) -> "Map":
        """The map that paths show, each what an episode achieved at all its moments."""
        moments = np.concatenate(paths)
        unit = deviation(moments)
        unit = np.where(unit > 0, unit, 1.0)
        few = moments[rng.permutation(len(moments))[:AMONG]]
        places = few[_far_apart(few / unit, min(MOST_PLACES, max(2, len(moments) // SHARING)))]
        tree = KDTree(places / unit)
        traces = [tree.query(path / unit)[1] for path in paths]
        found = cls(places, unit, *_gone(traces, len(places)))
        return replace(found, pace=found._pace(traces, rng))

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.places / self.unit)

    def trace(self, path: Float32[np.ndarray, "n g"]) -> Int[np.ndarray, " n"]:
        """The place of each moment of a path."""
        found: Int[np.ndarray, " n"] = self._tree.query(path / self.unit)[1]
        return found

    def direct(self, trace: Int[np.ndarray, " n"], way: range) -> range:
        """The end of a way, as much of it as is no detour.

        Args:
            trace: of an episode.
            way: from the moment where it begins to the one where it ends.
        """
        start, pace = way.start, DIRECT * self.pace
        while self.steps[trace[start], trace[way.stop]] + self.grain < pace * (way.stop - start):
            start = way.stop - (way.stop - start) // 2
        return range(start, way.stop)

    def onwards(
        self, trace: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[range, Float32[np.ndarray, " g"]] | None:
        """A way that went somewhere, and some place that it led towards, whether its episode went there or another one.

        The logarithm of its length is drawn evenly, from a few places on. None where no such way was found.
        """
        for _ in range(DRAWS):
            way = self._drawn(trace, rng)
            if way is None:
                continue
            here, there = trace[way.start], trace[way.stop]
            if self.steps[here, there] < max(PURPOSEFUL * self.grain, DIRECT * self.pace * len(way)):
                continue
            known = np.isfinite(self.steps[there])
            saved = np.where(known, self.steps[here], 0) - np.where(known, self.steps[there], 0)
            further = np.flatnonzero(saved >= ONWARDS * self.steps[here, there])
            if len(further):
                return way, self.places[further[rng.integers(len(further))]]
        return None

    def _drawn(self, trace: Int[np.ndarray, " n"], rng: np.random.Generator) -> range | None:
        """A way to any moment, if that is late enough."""
        shortest, stop = PURPOSEFUL * self.grain, int(rng.integers(1, len(trace)))
        if stop < shortest:
            return None
        return range(stop - int(math.exp(rng.uniform(math.log(shortest), math.log(stop)))), stop)

    def _pace(self, traces: Sequence[Int[np.ndarray, " _t"]], rng: np.random.Generator) -> float:
        drawn = [(traces[i], self._drawn(traces[i], rng)) for i in rng.integers(len(traces), size=MEASURED)]
        found = [self.steps[trace[way.start], trace[way.stop]] / len(way) for trace, way in drawn if way]
        return float(np.quantile(found, QUICK)) if found else 1.0


def _gone(traces: Sequence[Int[np.ndarray, " _t"]], m: int) -> tuple[Float32[np.ndarray, "m m"], float]:
    """The fewest steps between m places, and those in which one is crossed.

    From entering one place to entering the next takes the median of what was seen, the rest is Dijkstra's.
    """
    entered = [np.flatnonzero(np.diff(trace, prepend=-1)) for trace in traces]
    pair = np.concatenate([trace[at[:-1]] * m + trace[at[1:]] for trace, at in zip(traces, entered, strict=True)])
    took = np.concatenate([np.diff(at) for at in entered])
    order = np.lexsort((took, pair))
    edge, first, seen = np.unique(pair[order], return_index=True, return_counts=True)
    median = took[order][first + seen // 2].astype(np.float64)
    steps = dijkstra(csr_matrix((median, (edge // m, edge % m)), (m, m)))
    return steps.astype(np.float32), float(np.median(median)) if len(median) else np.inf


def _far_apart(points: Float[np.ndarray, "n g"], m: int) -> Int[np.ndarray, " m"]:
    """The numbers of m points, each as far as can be from those before (Gonzalez 1985)."""
    chosen = np.zeros(min(m, len(points)), np.int64)
    distance = np.full(len(points), np.inf)
    for i in range(1, len(chosen)):
        distance = np.minimum(distance, np.square(points - points[chosen[i - 1]]).sum(-1))
        chosen[i] = distance.argmax()
    return chosen
