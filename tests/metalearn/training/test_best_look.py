"""Which weights of a training are kept."""

import json

import numpy as np
import pytest

from metalearn.data.errors import InvalidConfig
from metalearn.training.best_look import BestLook, Weights

N_TASKS = 256


def weights(number: int) -> Weights:
    return {"weight": np.array([number])}


def after(*looks: tuple[dict[str, float], float | None]) -> BestLook:
    """What is known after looks at success rates and a likelihood, the i-th after i steps."""
    best = BestLook()
    for step, (seen, likelihood) in enumerate(looks):
        known = {} if likelihood is None else {"likelihood": likelihood}
        best.note(step, seen, known, lambda step=step: weights(step))  # type: ignore[misc]
    return best


def tried(*rates: float) -> tuple[dict[str, float], float]:
    return {f"after_{i}": rate for i, rate in enumerate(rates)}, 0.0


@pytest.mark.parametrize(
    ("looks", "kept"),
    [
        ([tried(0.5, 0.9), tried(0.5, 1.0), tried(0.5, 0.8)], 1),
        ([tried(0.5, 0.9), tried(0.5, 0.99), tried(0.5, 0.985)], None),
        ([tried(0.5, 1.0), tried(0.5, 1.0)], None),
        ([tried(1.0, 1.0), tried(0.5, 1.0, 1.0), tried(0.5, 0.8, 0.8)], 1),
        ([tried(1.0, 1.0), tried(0.5, 0.8, 0.8)], None),
        ([({}, 1.0), ({}, 1.2), ({}, 1.1)], 1),
        ([({}, 1.2), ({}, 1.19)], None),
        ([({}, None)], None),
        ([], None),
    ],
)
def test_an_earlier_look_is_kept_where_the_last_one_is_clearly_worse(
    looks: list[tuple[dict[str, float], float | None]], kept: int | None
) -> None:
    earlier = after(*looks).earlier(N_TASKS)
    assert (None if earlier is None else earlier.step) == kept
    if earlier is not None:
        assert earlier.weights == weights(earlier.step)


def test_the_fewer_tasks_were_tried_the_larger_a_difference_has_to_be() -> None:
    best = after(tried(0.5, 1.0), tried(0.5, 0.9))
    assert best.earlier(256) is not None
    assert best.earlier(16) is None


def test_it_is_the_same_after_a_resume() -> None:
    best = after(tried(0.5, 0.9), tried(0.5, 1.0), tried(0.5, 0.8))
    again = BestLook.from_json(json.loads(json.dumps(best.to_json())), weights(1))
    kept = again.earlier(N_TASKS)
    assert kept is not None
    assert (kept.step, kept.weights) == (1, weights(1))
    assert BestLook.from_json(BestLook().to_json(), {}).earlier(N_TASKS) is None


@pytest.mark.parametrize(
    ("looks", "kept"),
    [
        ([tried(0.5, 1.0, 1.0), tried(0.49, 0.9, 0.9)], 0),
        ([tried(0.5, 1.0, 1.0), tried(0.9, 0.5, 0.9)], None),
        ([tried(0.5, 1.0, 1.0), tried(0.5, 0.99, 0.99)], None),
        ([({}, 1.2), ({}, 1.0)], 0),
    ],
)
def test_training_goes_back_to_no_look_that_was_worse_at_an_attempt(
    looks: list[tuple[dict[str, float], float | None]], kept: int | None
) -> None:
    earlier = after(*looks).surely_earlier(N_TASKS)
    assert (None if earlier is None else earlier.step) == kept


def test_what_an_expert_showed_counts_for_nothing() -> None:
    seen = {"trial": 0.5, "retrial": 0.5}
    best = after(({**seen, "after_expert": 1.0}, 0.0), ({**seen, "after_expert": 0.1}, 0.0))
    assert best.earlier(N_TASKS) is None


def test_looks_of_another_version_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="another version"):
        BestLook.from_json({"best": [1, 0.5, 2], "last": [2, 0.4, 2]}, weights(1))


@pytest.mark.parametrize(("returned", "kept"), [(2.0, 1), (1.05, 0)])
def test_what_recorded_returns_prefer_is_kept_though_it_is_less_likely(returned: float, kept: int) -> None:
    best = BestLook()
    for step, (likelihood, value) in enumerate([(1.0, 1.0), (0.5, returned), (0.4, returned)]):
        known = {"likelihood": likelihood, "value": value, "value_error": 0.1}
        best.note(step, {}, known, lambda step=step: weights(step))  # type: ignore[misc]
    earlier = best.earlier(N_TASKS)
    assert earlier is not None and earlier.step == kept
    assert BestLook.from_json(json.loads(json.dumps(best.to_json())), weights(kept)).value == best.value
