"""The example of a model is a demonstration like most others."""

import numpy as np

from metalearn.data.episode import Episode
from metalearn.data.typical import typical


def line(end: float, steps: int = 8, success: bool | None = True, scale: float = 1.0) -> Episode:
    """A straight way to `end`, beside a number that never changes."""
    way = scale * np.linspace(0, end, steps + 1)
    return Episode.of(np.stack([way, np.full(steps + 1, 7.0)], 1), success=success)


def test_it_is_the_one_in_the_middle_whatever_the_unit() -> None:
    for scale in (1e-6, 1.0, 1e6):
        demos = [line(end, scale=scale) for end in (-3, -1, 0.1, 1, 3)]
        assert typical(demos) is demos[2]


def test_lengths_may_differ_and_failures_are_left_out() -> None:
    demos = [line(-1, 5), line(0.0, 9, success=False), line(0.2, 30, success=None), line(1, 1)]
    assert typical(demos) is demos[2]
    assert typical(demos[1:2]) is demos[1]


def test_of_none_there_is_none() -> None:
    assert typical([]) is None
