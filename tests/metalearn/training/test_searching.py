"""Remembering which behaviours solve which tasks."""

import numpy as np
import pytest
import torch

from metalearn.config import DataConfig, ModelConfig
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, Snapshot
from metalearn.training.ends import keep_useful, without_memory
from metalearn.training.searching import TRUSTS, Explored, explore_chunk, with_search

FAMILY = find_family("reach-m2")
MODEL = ModelConfig(n_hypotheses=2, max_trials=3, n_frames=4, encoder_width=16, policy_width=16, latent_dim=8)


def snapshot(**changed: int) -> Snapshot:
    """A policy of random weights."""
    model = MODEL.model_copy(update=changed)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Snapshot(model, ConditionalPolicy(model, FAMILY.spec).to_weights())


@pytest.fixture(scope="module")
def policy() -> Snapshot:
    return snapshot()


def explored(*tasks: tuple[tuple[float, float], str]) -> list[Explored]:
    return [Explored(np.array(p, np.float32), tuple(one == "1" for one in solved)) for p, solved in tasks]


def test_every_behaviour_is_attempted_in_every_task(policy: Snapshot) -> None:
    indices = tuple(FAMILY.splits["validation"][:5])
    found = explore_chunk(policy, DemonstrationChunk("reach-m2", indices, DataConfig(), seed=0))
    assert [len(task.solved) for task in found] == [4] * 5
    assert all(outcome in (True, False) for task in found for outcome in task.solved)
    assert all(task.probabilities.shape == (2,) and abs(task.probabilities.sum() - 1) < 1e-5 for task in found)
    again = explore_chunk(policy, DemonstrationChunk("reach-m2", indices, DataConfig(), seed=0))
    assert [task.solved for task in again] == [task.solved for task in found]


def test_outcomes_are_remembered_as_they_are(policy: Snapshot) -> None:
    searching = with_search(policy, FAMILY.spec, explored(((0.5, 0.5), "1000"), ((0.5, 0.5), "0110")))
    assert searching is not None
    assert searching.model.search == 2
    assert searching.weights["search.solved"].tolist() == [[1, 0, 0, 0], [0, 1, 1, 0]]
    plain = Inference(ConditionalPolicy.from_weights(policy.model, FAMILY.spec, policy.weights), FAMILY.spec)
    nothing = plain.infer_belief([Context()])[0].latent
    np.testing.assert_array_equal(searching.weights["search.nothing_shown"], nothing)


def test_from_the_second_half_on_behaviours_are_those_of_nothing_shown(policy: Snapshot) -> None:
    rng = np.random.default_rng(0)
    searching = with_search(policy, FAMILY.spec, explored(((0.5, 0.5), "1000"), ((0.5, 0.5), "0110")))
    assert searching is not None
    plain, other = (
        Inference(ConditionalPolicy.from_weights(one.model, FAMILY.spec, one.weights), FAMILY.spec)
        for one in (policy, searching)
    )
    shown, nothing = Context((FAMILY.spec.example_episode(rng),)), Context()
    (seen,) = other.infer_belief([shown])
    expected = plain.conditioning(np.stack([plain.infer_belief([nothing])[0].latent] * 2), np.arange(2))
    got = other.conditioning(np.stack([seen.latent] * 2), np.arange(2, 4))
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("tells", [True, False])
def test_a_belief_is_trusted_if_it_foretells_outcomes(tells: bool, policy: Snapshot) -> None:
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(60):
        kind = int(rng.integers(2))
        sure = kind if tells else int(rng.integers(2))
        tasks.append(((0.9, 0.1) if sure == 0 else (0.1, 0.9), "1010" if kind == 0 else "0101"))
    searching = with_search(policy, FAMILY.spec, explored(*tasks))
    assert searching is not None
    assert searching.weights["search.trust"] in TRUSTS
    assert (searching.weights["search.trust"] > 0.5) == tells


@pytest.mark.parametrize("outcome", [True, False, None])
def test_where_outcomes_are_all_alike_nothing_is_remembered(outcome: bool | None, policy: Snapshot) -> None:
    alike = [Explored(np.full(2, 0.5, np.float32), (outcome,) * 4)] * 3
    assert with_search(policy, FAMILY.spec, alike) is None


@pytest.mark.parametrize(
    ("search", "memory", "kept"),
    [
        (0.02, 0.02, "neither"),
        (0.25, 0.02, "search"),
        (0.02, 0.25, "memory"),
        (0.25, 0.25, "search"),
        (0.1, 0.3, "memory"),
    ],
)
def test_what_costs_something_is_kept_if_more_than_chance_speaks_for_it(
    search: float, memory: float, kept: str
) -> None:
    remembering = snapshot(memory=4)
    plain = without_memory(remembering)
    searching = with_search(plain, FAMILY.spec, explored(((0.5, 0.5), "1000"), ((0.5, 0.5), "0110")))
    assert searching is not None
    rng = np.random.default_rng(0)
    before = rng.choice([0.0, 0.5, 1.0], 100)

    def solved(policy: Snapshot) -> Array:
        gain = search * bool(policy.model.search) + memory * bool(policy.model.memory)
        return before + gain + rng.normal(0, 0.3, 100)

    found, decisions = keep_useful(plain, searching, remembering, solved)
    assert found is {"neither": plain, "search": searching, "memory": remembering}[kept]
    chosen = {one.field: one.value for one in decisions}
    assert chosen == {"model.search": 2 * (kept == "search"), "model.memory": 4 * (kept == "memory")}


def test_a_policy_without_its_memory_has_no_weights_of_it() -> None:
    remembering = snapshot(memory=4)
    plain = without_memory(remembering)
    assert ConditionalPolicy.from_weights(plain.model, FAMILY.spec, plain.weights).memory is None
    assert plain.weights.keys() < remembering.weights.keys()


def test_where_there_is_nothing_to_choose_nothing_is_decided(policy: Snapshot) -> None:
    assert keep_useful(policy, None, None, lambda _: np.zeros(4)) == (policy, [])
