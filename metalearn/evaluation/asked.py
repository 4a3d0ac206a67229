"""Attempts whose contexts ask for something, with or without demonstrations, on the tasks of a protocol.

Knows no kind of ask: what is asked for in a task is a function of its index.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from metalearn.data.asks import NOTHING, Ask
from metalearn.data.context import Context
from metalearn.evaluation.protocol import Player, Protocol, succeeded
from metalearn.evaluation.statistics import Interval, rate_interval

FEWEST_CLUSTERS = 12
"""Fewer say too little of what clusters differ in: then every row counts for itself."""


@dataclass(frozen=True)
class Way:
    """What an attempt knows of its task before it.

    Attributes:
        shown: whether the demonstrations of the protocol are in the context.
        ask: what is asked for in the task of an index.
    """

    shown: bool
    ask: Callable[[int], Ask] = lambda _: NOTHING


def attempts_with(
    protocol: Protocol, player: Player, demonstrated: Sequence[Context], way: Way
) -> Bool[np.ndarray, "t n"]:
    """Success of every attempt of the budget in every row, each of them given the ones before as trials."""
    contexts = [
        Context(context.demos if way.shown else (), (), way.ask(index))
        for context, (index, _) in zip(demonstrated, protocol.rows(), strict=True)
    ]
    return np.array([succeeded(episodes) for episodes in protocol.attempts(player, contexts)])


def clustered_rate(
    success: Bool[np.ndarray, " n"], clusters: Sequence[Hashable], seed: int
) -> tuple[float, Interval] | None:
    """The rate of n episodes and its interval, for which clusters are resampled; None of no episode.

    Of fewer than FEWEST_CLUSTERS, episodes are taken for independent.
    """
    if not len(success):
        return None
    names = list(dict.fromkeys(clusters))
    if len(names) < FEWEST_CLUSTERS:
        names = clusters = list(range(len(success)))
    members = [np.flatnonzero([name == one for one in clusters]) for name in names]
    table = np.zeros((2, len(members), max(map(len, members))), bool)
    for row, rows in enumerate(members):
        table[0, row, : len(rows)], table[1, row, : len(rows)] = success[rows], True
    return float(success.mean()), rate_interval(table[0], table[1], np.random.default_rng([seed, 31]))
