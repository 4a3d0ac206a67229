"""Recorded tasks that are not trained on: the split, likelihoods by hand, and what recorded returns say."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from metalearn.config import ModelConfig
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.held_out import HeldOut, split
from metalearn.training.off_policy import estimate, recorded_likelihood

CONTINUOUS = Spec(spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), horizon=6, rate_hz=1.0)
DISCRETE = Spec(spaces.Box(-1, 1, (2,)), spaces.Discrete(3), horizon=6, rate_hz=1.0)
CONFIG = ModelConfig(n_hypotheses=2, latent_dim=8, policy_width=16, encoder_width=16, n_frames=2)


def dataset(n_tasks: int, spec: Spec = CONTINUOUS, n_experts: int = 2, n_trials: int = 1) -> Dataset:
    rng = np.random.default_rng(0)

    def episodes(n: int, success: bool) -> tuple[Episode, ...]:
        return tuple(
            replace(spec.example_episode(rng, int(rng.integers(2, 7))), rewards=None, success=success) for _ in range(n)
        )

    return Dataset(
        spec,
        tuple(
            TaskRecord(f"task/{i}", episodes(1, True), episodes(n_experts, True), (), episodes(n_trials, False))
            for i in range(n_tasks)
        ),
    )


@pytest.mark.parametrize(("n_tasks", "n_aside"), [(10, 2), (40, 4), (3000, 256)])
def test_a_tenth_of_the_tasks_is_held_out_and_at_least_two_and_at_most_256(n_tasks: int, n_aside: int) -> None:
    one = dataset(1, n_trials=0).tasks[0]
    whole = Dataset(CONTINUOUS, tuple(replace(one, task=f"task/{i}") for i in range(n_tasks)))
    found = split(whole, seed=0)
    assert found.held_out is not None and found.unit == "tasks"
    assert len(found.held_out.tasks) == n_aside
    assert len(found.training.tasks) == n_tasks - n_aside
    assert {r.task for r in found.training.tasks} | {r.task for r in found.held_out.tasks} == {
        r.task for r in whole.tasks
    }


def test_which_tasks_are_held_out_depends_on_names_and_seed_and_on_no_order() -> None:
    whole = dataset(30)
    backwards = replace(whole, tasks=whole.tasks[::-1])

    def aside(data: Dataset, seed: int) -> set[str]:
        held_out = split(data, seed).held_out
        return set() if held_out is None else {record.task for record in held_out.tasks}

    assert aside(whole, 0) == aside(backwards, 0) != aside(whole, 1)
    assert split(whole, 0).without_held_out(whole) == split(whole, 0).training


def test_of_few_tasks_episodes_are_held_out_and_each_task_keeps_one() -> None:
    found = split(dataset(4, n_experts=3), seed=0)
    assert found.unit == "episodes" and found.held_out is not None
    assert [len(record.experts) for record in found.training.tasks] == [2] * 4
    assert [len(record.experts) for record in found.held_out.tasks] == [1] * 4
    assert found.to_json()["why"] == "4 episodes of 4 of the 4 tasks are not trained on; their tasks are"


def test_nothing_is_held_out_of_few_tasks_with_one_episode_each_and_it_is_said() -> None:
    whole = dataset(3, n_experts=1)
    found = split(whole, seed=0)
    assert (found.training, found.held_out, found.unit) == (whole, None, "nothing")
    assert "none has two episodes to imitate" in found.why


@pytest.mark.parametrize("spec", [CONTINUOUS, DISCRETE])
def test_scores_are_of_every_context_and_the_same_each_time(spec: Spec) -> None:
    torch.manual_seed(0)
    policy = ConditionalPolicy(CONFIG, spec).train()
    held_out = HeldOut(dataset(5, spec), CONFIG)
    found, again = held_out.scores(policy), held_out.scores(policy)
    assert found == again
    assert policy.training
    assert {name: one.n_tasks for name, one in found.likelihood.items()} == {"demos": 5, "expert": 5, "trials": 5}
    assert found.gain["trials"].mean == pytest.approx(
        found.likelihood["trials"].mean - found.likelihood["demos"].mean, abs=1e-5
    )
    assert found.score == pytest.approx(sum(one.mean for one in found.likelihood.values()) / 3)


def test_a_context_that_no_task_has_is_absent() -> None:
    found = HeldOut(dataset(3, n_experts=1, n_trials=0), CONFIG).scores(ConditionalPolicy(CONFIG, CONTINUOUS))
    assert set(found.likelihood) == {"demos"} and not found.gain


def test_a_policy_that_knows_nothing_has_the_likelihood_of_chance() -> None:
    policy = ConditionalPolicy(CONFIG, DISCRETE)
    torch.nn.init.zeros_(policy.head.weight)
    torch.nn.init.zeros_(policy.head.bias)
    found = HeldOut(dataset(3, DISCRETE), CONFIG).scores(policy)
    assert found.likelihood["demos"].mean == pytest.approx(-math.log(3), abs=1e-5)
    assert found.likelihood["demos"].standard_error == pytest.approx(0, abs=1e-5)


def test_a_continuous_likelihood_is_that_of_the_gaussian_by_hand() -> None:
    policy = ConditionalPolicy(CONFIG, CONTINUOUS)
    torch.nn.init.zeros_(policy.head.weight)
    torch.nn.init.zeros_(policy.head.bias)
    torch.nn.init.zeros_(policy.log_sigma)
    data = dataset(3)
    found = HeldOut(data, CONFIG).scores(policy).likelihood["demos"]
    per_task = []
    for record in data.tasks:
        actions = np.concatenate([e.actions for e in record.experts if e.actions is not None])
        per_task.append(np.mean(-0.5 * actions**2 - 0.5 * math.log(2 * math.pi)))
    assert found.mean == pytest.approx(np.mean(per_task), abs=1e-5)
    assert found.standard_error == pytest.approx(np.std(per_task, ddof=1) / math.sqrt(3), abs=1e-5)


def test_a_policy_that_prefers_good_episodes_is_worth_more_than_was_recorded() -> None:
    returns = torch.tensor([0.0, 1.0] * 20)
    found = estimate(own=2 * returns, recorded=torch.zeros(40), returns=returns)
    assert found.recorded == 0.5
    assert found.value == pytest.approx(math.e / (math.e + 1 / math.e))  # ratios are relative to their median
    assert found.n_episodes == 40 and 10 < found.effective_episodes < 40


def test_few_effective_episodes_are_not_enough_evidence() -> None:
    own = torch.tensor([100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    found = estimate(own, torch.zeros(11), torch.arange(11.0))
    assert found.value is None and found.says.startswith("not enough evidence: 11 recorded episodes are worth 3.6")
    same = estimate(torch.zeros(20), torch.zeros(20), torch.ones(20))
    assert same.says == "not enough evidence: all 20 recorded episodes have a return of 1"


@pytest.mark.parametrize("spec", [CONTINUOUS, DISCRETE])
def test_whoever_recorded_is_estimated_by_a_linear_model(spec: Spec) -> None:
    generator = torch.Generator().manual_seed(0)
    steps = []
    for _ in range(10):
        seen = torch.randn(20, 2, generator=generator)
        steps.append((seen, (seen[:, 0] > 0).long() if spec.discrete else seen[:, :1]))
    found = recorded_likelihood(steps, spec.discrete)
    assert found is not None and (found > 20 * -math.log(3)).all()
    assert recorded_likelihood([(torch.zeros(2, 12288), torch.zeros(2, 1))], False) is None
