"""Which weights a training ends with."""

import numpy as np
import pytest

from metalearn.config import ModelConfig
from metalearn.data.episode import Array
from metalearn.training.collect import Snapshot
from metalearn.training.ends import is_still_better

LAST, EARLIER = (Snapshot(ModelConfig(), {}, version) for version in (200, 100))
N_TASKS, TRIED = 256, 200


def still_better(gain: float, seed: int) -> bool:
    """With success after one trial higher by `gain` than the last weights' 0.9; of first attempts half succeed."""
    rng = np.random.default_rng(seed)

    def solved(policy: Snapshot) -> Array:
        second = 0.9 + gain * (policy is EARLIER)
        return (rng.random((N_TASKS, 2)) < (0.5, second)).mean(1)

    return is_still_better(EARLIER, LAST, solved)


@pytest.mark.parametrize(("gain", "least", "most"), [(-0.1, 0.0, 0.01), (0.0, 0.05, 0.25), (0.1, 0.75, 1.0)])
def test_earlier_weights_are_kept_for_what_they_solve_and_not_for_luck(gain: float, least: float, most: float) -> None:
    kept = np.mean([still_better(gain, seed) for seed in range(TRIED)])
    assert least <= kept <= most


def test_of_one_task_nothing_is_concluded() -> None:
    assert not is_still_better(EARLIER, LAST, lambda policy: np.array([float(policy is EARLIER)]))
