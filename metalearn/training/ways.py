"""What led to what: ways through episodes that can be answers, and the goals that they are asked for.

Knows what was achieved, and the map of it; not what else can be asked for.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Shaped

from metalearn.data.episode import Array, Episode
from metalearn.training.maps import Map

MAPPED = 2_000_000  # moments that a map is drawn from
BEYOND = 0.5  # how often what lies beyond where a way led is asked for

GoalReader = Callable[[Shaped[np.ndarray, "n *o"]], Float32[np.ndarray, "n g"]]
"""What is achieved in each of n observations."""


@dataclass(frozen=True)
class Answer:
    """An episode whose executed actions can be imitated.

    Attributes:
        target: the index of its steps.
        episode: the episode.
        quality: of who acted, from 0 to 1, if that is known.
        alike: the episodes that began alike and in which the same was done.
    """

    target: int
    episode: Episode
    quality: float | None
    alike: tuple[Episode, ...]


class Ways:
    """Draws ways of answers, with a map of all of them, which is drawn when it is needed first.

    Args:
        answers: gives those that the map is drawn from.
        goals: reads what was achieved; None where nobody says.
    """

    def __init__(self, answers: Callable[[], Sequence[Answer]], goals: GoalReader | None) -> None:
        self._answers, self._goals = answers, goals
        self._achieved: dict[int, Array] = {}
        self._traces: dict[int, Array] = {}

    def forget(self, answers: Iterable[Answer]) -> None:
        """These will be replaced."""
        for answer in answers:
            self._achieved.pop(answer.target, None)
            self._traces.pop(answer.target, None)

    def path(self, answer: Answer) -> Array | None:
        """What an answer achieved at each moment `[t + 1, g]`; None where nobody says."""
        if self._goals is None:
            return None
        if answer.target not in self._achieved:
            self._achieved[answer.target] = self._goals(answer.episode.observations)
        return self._achieved[answer.target]

    def draw(self, answer: Answer, rng: np.random.Generator) -> tuple[range, Array | None]:
        """Steps of an episode that led to something; and what lies beyond that, if it is to be asked for instead."""
        steps, path = way(answer, rng), self.path(answer)
        if (answer.quality != 0 and steps.start == 0) or path is None:
            return steps, None
        if answer.target not in self._traces:
            self._traces[answer.target] = self._map.trace(path)
        trace = self._traces[answer.target]
        onwards = self._map.onwards(trace, rng) if rng.random() < BEYOND else None
        return onwards or (self._map.direct(trace, steps), None)

    @cached_property
    def _map(self) -> Map:
        """What all episodes together show of where things lead."""
        rng, answers, paths, left = np.random.default_rng(0), self._answers(), [], MAPPED
        for i in rng.permutation(len(answers)):
            path = self.path(answers[i]) if left > 0 else None
            if path is None:
                break
            paths.append(path)
            left -= len(path)
        return Map.of(paths, rng)


def way(answer: Answer, rng: np.random.Generator) -> range:
    """Steps of an episode that led to what was achieved after the last of them, any moment being as likely.

    Of whoever knows the task they are all steps before. Who plays makes detours: the shorter a way, the surer it is
    that each of its actions was for what was achieved, so the logarithm of its length is drawn evenly. Where nobody
    knows who acted, either is as likely.
    """
    end = int(rng.integers(1, len(answer.episode) + 1))
    purposeful = rng.random() < 0.5 if answer.quality is None else answer.quality > 0
    if purposeful:
        return range(end)
    length = math.exp(rng.uniform(0, math.log(end + 1)))
    return range(end - min(end, int(length)), end)
