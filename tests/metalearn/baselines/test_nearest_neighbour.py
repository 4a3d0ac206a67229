"""Training episodes looked up by what a context shows: two kinds of task, on the left and on the right."""

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.baselines.demo_replay import DemoReplay, StateMatchedReplay
from metalearn.baselines.nearest_neighbour import NearestNeighbourIndex
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec

RNG = np.random.default_rng(0)
LINE = Spec(spaces.Box(-9, 9, (1,)), spaces.Box(-1, 1, (1,)), 20, 10.0)


def walk(start: float, side: float, success: bool = True) -> Episode:
    """Two steps to one side."""
    return Episode.of([[start], [start + side], [start + 2 * side]], [[0.4 * side], [0.5 * side]], success=success)


def dataset(n: int = 4) -> Dataset:
    """Even tasks go left, odd ones right; demonstrations show where to, but not how."""
    sides = [-1.0 if i % 2 == 0 else 1.0 for i in range(n)]
    return Dataset(
        LINE,
        tuple(
            TaskRecord(f"line/{i}", (walk(0, side).without_actions(),), (walk(0, side), walk(3, side)))
            for i, side in enumerate(sides)
        ),
    )


LIBRARY = NearestNeighbourIndex.of(dataset())
LEFT, RIGHT = (Context((walk(0, side).without_actions(),)) for side in (-1.0, 1.0))


def acted(adapter: DemoReplay | StateMatchedReplay, contexts: list[Context], steps: list[float]) -> Array:
    actor = adapter.adapt(contexts, RNG)
    return np.stack([actor.act(np.full((len(contexts), 1), x, np.float32))[:, 0] for x in steps], 1)


def test_the_tasks_looked_up_are_those_that_were_shown_alike():
    assert set(LIBRARY.tasks[LIBRARY.near(LEFT, 2)]) == {0, 2}
    assert set(LIBRARY.tasks[LIBRARY.near(RIGHT, 2)]) == {1, 3}


def test_an_own_success_says_more_than_the_demonstration_and_a_failure_says_nothing():
    solved, failed = RIGHT.with_trial(walk(0, -1)), RIGHT.with_trial(walk(0, -1, success=False))
    assert set(LIBRARY.tasks[LIBRARY.near(solved, 2)]) == {0, 2}
    np.testing.assert_array_equal(LIBRARY.near(failed, 2), LIBRARY.near(RIGHT, 2))


def test_without_actions_to_repeat_experts_of_similar_tasks_are_replayed_from_the_most_similar_start():
    np.testing.assert_allclose(acted(DemoReplay(LIBRARY), [LEFT, RIGHT], [0, 0]), [[-0.4, -0.5], [0.4, 0.5]])
    # No context at all: whoever began like this.
    actor = DemoReplay(NearestNeighbourIndex.of(dataset(2))).adapt([Context()], RNG)
    assert abs(actor.act(np.float32([[3.2]]))[0, 0]) == pytest.approx(0.4)


def test_state_matched_does_what_an_expert_did_in_the_most_similar_state():
    actions = acted(StateMatchedReplay(LIBRARY, 2), [LEFT, RIGHT], [0, 2.9, 1.9])
    np.testing.assert_allclose(actions, [[-0.4, -0.4, -0.5], [0.4, 0.4, 0.5]])


def test_own_recordings_are_matched_beside_the_library_and_win_a_tie():
    shown = Context((Episode.of([[0], [1], [2]], [[0.9], [0.8]], success=True),))
    np.testing.assert_allclose(acted(StateMatchedReplay(LIBRARY, 2), [shown], [0, 1, 4]), [[0.9, 0.8, 0.5]])


def test_a_library_is_cut_at_whole_tasks_and_keeps_one_at_least():
    assert NearestNeighbourIndex.of(dataset(), max_steps=9).demos.shape[0] == 2
    assert NearestNeighbourIndex.of(dataset(), max_steps=1).demos.shape[0] == 1


def test_a_library_survives_being_written_down():
    again = NearestNeighbourIndex.from_weights(LIBRARY.to_weights())
    np.testing.assert_array_equal(again.near(LEFT), LIBRARY.near(LEFT))
    with pytest.raises(InvalidConfig, match="not an index"):
        NearestNeighbourIndex.from_weights({"mean": np.zeros(1, np.float32)})
