import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metalearn.data.episode import Episode
from metalearn.evaluation.controls import derangement, flipped


@given(st.integers(2, 60), st.integers(0, 2**32))
def test_derangement_is_a_permutation_that_leaves_nothing_in_its_place(n: int, seed: int) -> None:
    permutation = derangement(n, np.random.default_rng(seed))
    assert sorted(permutation) == list(range(n))
    assert not (permutation == np.arange(n)).any()


def test_derangements_of_three_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    first = [tuple(derangement(3, rng)) for _ in range(2000)]
    assert set(first) == {(1, 2, 0), (2, 0, 1)}
    assert 0.45 < first.count((1, 2, 0)) / 2000 < 0.55


def test_flipping_turns_flag_and_last_reward_and_nothing_else() -> None:
    trial = Episode.of(np.zeros((4, 2)), np.ones((3, 1)), [0, 0, 1], True)
    assert flipped(trial) == Episode.of(np.zeros((4, 2)), np.ones((3, 1)), [0, 0, 0], False)
    assert flipped(flipped(trial)) == trial


def test_unrewarded_trial_has_only_its_flag_flipped() -> None:
    trial = Episode.of(np.zeros((4, 2)), np.ones((3, 1)), None, False)
    assert flipped(trial).rewards is None
    assert flipped(trial).success is True
