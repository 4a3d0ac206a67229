from collections.abc import Sequence

import numpy as np
from support.corridor import Corridor, corridor_manifest

from metalearn.data.asks import Ask, Words
from metalearn.data.context import Context
from metalearn.evaluation.asked import Way, attempts_with, clustered_rate
from metalearn.evaluation.protocol import Protocol, random_player
from metalearn.evaluation.statistics import wilson


def test_a_way_decides_what_every_attempt_knows() -> None:
    protocol = Protocol.of(Corridor(), corridor_manifest(trials=1), n_tasks=3)
    given: list[Sequence[Context]] = []

    def player(env, contexts, rng):
        given.append(contexts)
        return random_player(env, contexts, rng)

    shown = protocol.demonstrations()
    success = attempts_with(protocol, player, shown, Way(shown=False, ask=lambda index: Ask((Words(str(index)),))))
    assert success.shape == (2, 3)
    for number, contexts in enumerate(given):
        assert all(not context.demos and len(context.trials) == number for context in contexts)
        asked = [context.ask.to_json()["words"] for context in contexts]
        assert asked == [str(index) for index in protocol.indices]
    given.clear()
    attempts_with(protocol, player, shown, Way(shown=True))
    assert [context.demos for context in given[0]] == [context.demos for context in shown]
    assert not any(context.ask for context in given[0])


def test_few_clusters_are_taken_for_episodes_and_many_are_resampled() -> None:
    success = np.arange(48) % 4 > 0
    few = clustered_rate(success, [i % 4 for i in range(48)], 0)
    assert few == (0.75, wilson(36, 48))
    alike = clustered_rate(np.arange(48) % 16 > 3, [i % 16 for i in range(48)], 0)
    assert alike is not None and alike[0] == 0.75
    assert alike[1][1] - alike[1][0] > few[1][1] - few[1][0]
    assert clustered_rate(np.zeros(0, bool), [], 0) is None
