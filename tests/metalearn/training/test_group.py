"""Two learners, each with a part of the batch, take the step that one learner would take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.learners import in_processes
from support.small_run import SMALL
from support.two_learners import MODEL, exactly, gradients, in_one_of_two

from metalearn.bundle import Bundle
from metalearn.config import TrainingConfig
from metalearn.data.errors import InvalidConfig
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.training.group import SingleProcess
from metalearn.training.learner import CPU, Learner
from metalearn.training.loop import train


class OneOfThree(SingleProcess):
    """A learner that is told it is one of several, and shares nothing with the others."""

    size = 3


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    return gradients(SingleProcess())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    return in_processes(2, in_one_of_two, folder, folder)


@pytest.mark.slow
def test_gradients_of_two_learners_are_those_of_one(alone: dict[str, np.ndarray], two: list[dict[str, Any]]) -> None:
    assert len(alone) > 30
    for found in (one["together"] for one in two):
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-6, err_msg=name)
    assert all(np.array_equal(two[0]["together"][name], two[1]["together"][name]) for name in alone)


@pytest.mark.slow
def test_it_is_the_common_normalisation_that_makes_them_so(
    alone: dict[str, np.ndarray], two: list[dict[str, Any]]
) -> None:
    assert max(np.abs(two[0]["apart"][name] - alone[name]).max() for name in alone) > 1e-3


@pytest.mark.slow
def test_in_double_precision_two_learners_train_as_one_does_to_many_digits(two: list[dict[str, Any]]) -> None:
    here = exactly(SingleProcess())
    assert here["losses"][-1] < here["losses"][0]
    for name, expected in here.items():
        np.testing.assert_allclose(two[0]["exactly"][name], expected, rtol=1e-10, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_two_learners_train_as_one_does_and_resume_bit_for_bit(
    folder: Path, two: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert len({one[name] for one in two for name in ("straight", "stopped")}) == 1
    there, here = Bundle.load(folder / "straight" / "bundle"), train(SMALL, tmp_path)
    assert there.id == two[0]["straight"]
    losses = [[entry["loss"] for entry in bundle.provenance["history"]] for bundle in (here, there)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    for name, expected in here.weights.items():
        np.testing.assert_allclose(there.weights[name], expected, atol=0.05, err_msg=name)
    # In single precision no closer: a bias before a normalisation has no gradient but rounding, which Adam enlarges.


@pytest.mark.slow
def test_what_fails_in_one_learner_fails_in_all(two: list[dict[str, Any]]) -> None:
    assert [one["refused"] for one in two] == ["of learner 0 alone"] * 2


def test_more_learners_than_tasks_in_a_batch_are_refused() -> None:
    policy = ConditionalPolicy(MODEL, find_family("reach-m2").spec)
    with pytest.raises(InvalidConfig, match="batch_tasks: expected at least one for each of 3 learners"):
        Learner(policy, TrainingConfig(batch_tasks=2), CPU, OneOfThree())
