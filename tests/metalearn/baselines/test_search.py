"""CMA-ES on tasks whose solution is known, and the learning curve that every optimiser gives."""

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.baselines.learning_curve import EXAMINATION, TRAINING, Examination, milestones, training_seeds
from metalearn.baselines.optimisers import OPTIMISERS, Optimiser
from metalearn.baselines.search import LinearActor, Scaler, Search
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.registry import find_family

SMALL = Search(population=10, parents=3, random_episodes=4, n_test=20)


@pytest.mark.parametrize("family", ["support.doors:Doors", "support.doors:DiscreteDoors"])
@pytest.mark.parametrize("index", [0, 1])
def test_search_finds_which_door_is_right(family, index):
    curve = SMALL.optimise(family, index, 150, seed=0)
    assert curve.success[-1] > 0.9
    assert curve.returns == curve.success


def test_equal_seeds_give_equal_curves_and_others_others():
    first, second, other = (SMALL.optimise("reach-m2", 1_000_000, 100, seed).returns for seed in (0, 0, 1))
    assert first == second != other


def test_a_curve_begins_with_nothing_and_ends_with_the_batch_that_reaches_the_end():
    curve = SMALL.optimise("support.doors:Doors", 7, 100, seed=0)
    assert curve.task == "doors/0007"
    assert curve.episodes == (0, 14, 34, 104)
    assert len(curve.episodes) == len(curve.success) == len(curve.returns)


@pytest.mark.parametrize(("n", "expected"), [(5, (5,)), (10, (10,)), (300, (10, 30, 100, 300)), (45, (10, 30, 45))])
def test_milestones_are_round_numbers_and_the_end(n, expected):
    assert milestones(n) == expected


def test_layouts_of_the_examination_are_never_trained_on():
    family = find_family("reach-m2")
    seen = set(training_seeds(7, 0, 0, 2000))
    assert len(seen) == 2000
    assert seen.isdisjoint(Examination(family, 7, 0, 500)._seeds)
    assert TRAINING < EXAMINATION


@pytest.mark.parametrize(
    ("space", "expected"),
    [(spaces.Box(np.float32([0, -1]), np.float32([4, 1])), [[2.5, 1.0]]), (spaces.Discrete(2, start=1), [2])],
)
def test_a_linear_policy_acts_within_the_space(space, expected):
    spec = Spec(spaces.Box(-1, 1, (1,)), space, 5, 10.0)
    actor = LinearActor(spec, Scaler(np.zeros(1), np.ones(1)), np.array([[0.0, 0.25, 9.0, 0.0]]))
    np.testing.assert_allclose(actor.act(np.ones((1, 1), np.float32)), expected)


def test_rows_of_weights_act_in_their_own_rows():
    spec = Spec(spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,)), 5, 10.0)
    actor = LinearActor(spec, Scaler(np.zeros(1), np.ones(1)), np.array([[0.5, 0.0], [-0.5, 0.0]]))
    np.testing.assert_allclose(actor.act(np.ones((2, 1), np.float32)), [[0.5], [-0.5]])


def test_numbers_that_never_change_are_scaled_by_one():
    family = find_family("reach-m2")
    episodes = [family.spec.example_episode(np.random.default_rng(0)).without_actions()]
    scaler = Scaler.of(episodes)
    assert (scaler.std > 0).all()
    constant = Scaler.of([type(episodes[0]).of(np.ones((3, 2)), None, None, None)])
    np.testing.assert_array_equal(constant(np.ones((1, 2))), [[0, 0]])


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("search", {"n_episodes": 0}, "episodes: expected at least 1, got 0"),
        ("search", {"family_name": "reach-m3"}, "did you mean reach-m"),
    ],
)
def test_what_cannot_be_optimised_is_one_sentence(name, arguments, sentence):
    with pytest.raises(InvalidConfig, match=sentence):
        OPTIMISERS[name].optimise(**{"family_name": "reach-m2", "index": 0, "n_episodes": 10, "seed": 0, **arguments})


def test_every_optimiser_has_the_one_face():
    for name, optimiser in OPTIMISERS.items():
        assert isinstance(optimiser, Optimiser)
        assert optimiser.name == name
        assert optimiser.what
