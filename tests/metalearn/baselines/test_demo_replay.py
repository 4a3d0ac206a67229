import numpy as np
import pytest

from metalearn.adapter import Actor, Adapter
from metalearn.baselines.demo_replay import DemoReplay, StateMatchedReplay
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData

RNG = np.random.default_rng(0)
DEMO = Episode.of([[0, 5], [1, 5], [2, 5]], [[0.1], [0.2]], success=True)
LATER_DEMO = Episode.of([[0, 5], [1, 5]], [[0.9]], success=True)
FAILED = Episode.of([[0, 5], [1, 5]], [[-0.9]], [0], success=False)
SOLVED = Episode.of([[0, 5], [1, 5]], [[0.7]], [1], success=True)
UNSCORED = Episode.of([[0, 5], [1, 5]], [[0.6]])


def actions_of(adapter, contexts, observations):
    """What the adapted actor does at each of the observations, `[t, b, o]`."""
    actor = adapter.adapt(contexts, RNG)
    return np.stack([actor.act(np.asarray(now, np.float32)) for now in observations])


def test_replay_repeats_the_first_demo_and_then_its_last_action():
    steps = [[[9, 9]]] * 4
    actions = actions_of(DemoReplay(), [Context((DEMO, LATER_DEMO))], steps)
    np.testing.assert_array_equal(actions, np.float32([[[0.1]], [[0.2]], [[0.2]], [[0.2]]]))


def test_state_matched_does_what_followed_the_nearest_recorded_state():
    steps = [[[0.8, 5]], [[0.1, 5]], [[7, 5]]]
    actions = actions_of(StateMatchedReplay(), [Context((DEMO,))], steps)
    np.testing.assert_array_equal(actions, np.float32([[[0.2]], [[0.1]], [[0.2]]]))


def test_state_matched_weighs_each_number_by_its_spread():
    demo = Episode.of([[0, 0], [1000, 1], [1000, 1]], [[0.1], [0.2]])
    (action,) = actions_of(StateMatchedReplay(), [Context((demo,))], [[[400, 0.9]]])
    np.testing.assert_array_equal(action, np.float32([[0.2]]))


@pytest.mark.parametrize("adapter", [DemoReplay(), StateMatchedReplay()])
def test_the_last_successful_trial_is_preferred_to_the_demo(adapter):
    contexts = [
        Context((DEMO,), (SOLVED, FAILED, UNSCORED)),
        Context((DEMO,), (FAILED,)),
        Context((DEMO,), (SOLVED.without_actions(),)),
        Context((), (SOLVED,)),
    ]
    (actions,) = actions_of(adapter, contexts, [[[0, 5]] * 4])
    np.testing.assert_array_equal(actions, np.float32([[0.7], [0.1], [0.1], [0.7]]))


@pytest.mark.parametrize("adapter", [DemoReplay(), StateMatchedReplay()])
def test_a_demo_without_actions_is_passed_over(adapter):
    (action,) = actions_of(adapter, [Context((LATER_DEMO.without_actions(), DEMO))], [[[0, 5]]])
    np.testing.assert_array_equal(action, np.float32([[0.1]]))


@pytest.mark.parametrize("adapter", [DemoReplay(), StateMatchedReplay()])
@pytest.mark.parametrize("context", [Context(), Context((DEMO.without_actions(),)), Context((), (FAILED,))])
def test_nothing_to_repeat_is_refused_by_name(adapter, context):
    with pytest.raises(InvalidData, match=r"contexts\[1\]\.demos"):
        adapter.adapt([Context((DEMO,)), context], RNG)


@pytest.mark.parametrize("adapter", [DemoReplay(), StateMatchedReplay()])
def test_discrete_actions_stay_integers(adapter):
    demo = Episode.of([[0.0], [1.0], [2.0]], [3, 4])
    (actions,) = actions_of(adapter, [Context((demo,))], [[[0.0]]])
    assert actions.dtype == np.int64
    assert actions.tolist() == [3]


@pytest.mark.parametrize("adapter", [DemoReplay(), StateMatchedReplay()])
def test_it_is_an_adapter(adapter):
    assert isinstance(adapter, Adapter)
    assert isinstance(adapter.adapt([Context((DEMO,))], RNG), Actor)
