"""A step of learning, whatever it is computed on."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.two_learners import policy_for, training_set
from torch import Tensor

from metalearn.config import DataConfig, ModelConfig, TrainingConfig
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.model.policy import MEMORY_WEIGHTS, ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.training.batches import MetaBatch, TrainingSet
from metalearn.training.collect import DemonstrationChunk, demonstrate_chunk
from metalearn.training.held_out import hypothesis_information
from metalearn.training.learner import CPU, FEWEST_TOLD, Compute, Learner
from metalearn.training.schedule import FixedSchedule

CONFIG = TrainingConfig(batch_tasks=16)


def made(config: TrainingConfig = CONFIG, compute: Compute = CPU) -> tuple[Learner, TrainingSet]:
    model = ModelConfig(dynamics_rank=2)
    chunk = DemonstrationChunk("reach-dynamics", tuple(range(32)), DataConfig(expert_noise=0.2), 0)
    dataset = Dataset(find_family("reach-dynamics").spec, tuple(demonstrate_chunk(chunk)))
    data = TrainingSet(dataset, model)
    torch.manual_seed(0)
    policy = ConditionalPolicy(model, dataset.spec)
    policy.observations.fit(*data.observations())
    assert policy.dynamics
    policy.dynamics.fit(data.effects(), policy.observations.unit)
    return Learner(policy, config, compute), data


def losses(compute: Compute, n_steps: int = 8) -> list[float]:
    (learner, data), generator = made(compute=compute), torch.Generator().manual_seed(0)
    return [learner.step(data.draw(CONFIG, False, generator), 0.0, rate=0.3) for _ in range(n_steps)]


def test_half_precision_learns_as_full_precision_does() -> None:
    full, half = losses(CPU), losses(Compute(precision="bfloat16"))
    assert half != full
    assert half == pytest.approx(full, rel=0.05, abs=0.03)  # a loss goes through zero
    assert half[-1] < half[0]


@pytest.mark.parametrize("device", ["cuda:99", "warp"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(InvalidConfig, match=f"device: expected .* got '{device}'"):
        losses(Compute(device=device), 1)


def test_codes_settle_after_the_share_of_the_steps_that_was_asked_for() -> None:
    config = TrainingConfig(batch_tasks=16, warmup_steps=6, rounds=0, freeze_batchnorm_after=0.5)
    (learner, data), schedule = made(config), FixedSchedule(config, competing=True)
    generator, means = torch.Generator().manual_seed(0), []
    for step in range(6):
        learner.step(data.draw(config, False, generator), 0.0, frozen=schedule.batchnorm_frozen(step))
        means.append(learner.policy.encoder.normalise.running_mean.clone())
    assert not torch.equal(means[1], means[2])
    assert torch.equal(means[2], means[5])


def test_averages_are_over_a_share_of_the_steps_and_resume_exactly() -> None:
    config = TrainingConfig(batch_tasks=16, average_share=0.5)
    (learner, data), generator = made(config), torch.Generator().manual_seed(0)
    seen = []
    for _ in range(3):
        learner.step(data.draw(config, False, generator), 0.0)
        seen.append(learner.policy.head.weight.detach().clone())
    # The first is taken as it is; after n updates a new one counts 1 / (1 + n / 2).
    expected = seen[0].lerp(seen[1], 1 / 1.5).lerp(seen[2], 1 / 2)
    assert torch.allclose(learner.averaged.head.weight, expected)
    other, _ = made(config)
    other.load_state(learner.state())
    batch = data.draw(config, False, generator)
    for one in (learner, other):
        one.step(batch, 0.0)
    states = [one.averaged.state_dict() for one in (learner, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_without_averaging_one_acts_with_the_weights_that_learn() -> None:
    learner, _ = made()
    assert learner.averaged is learner.policy


def test_an_episode_tells_nothing_of_hypotheses_that_are_alike() -> None:
    config = TrainingConfig(steps=10, batch_tasks=16)
    (learner, data), generator = made(config), torch.Generator().manual_seed(0)
    batch = data.draw(config, False, generator)
    unlike = hypothesis_information(learner.policy, batch)
    assert unlike > 1e-4
    with torch.no_grad():
        learner.policy.hypotheses.weight.zero_()
    assert abs(hypothesis_information(learner.policy, batch)) < 1e-5


def annealing() -> tuple[ConditionalPolicy, MetaBatch, Callable[[MetaBatch, bool], Tensor]]:
    """A policy, a batch with trials in some contexts, and the loss while hypotheses begin, by whether they foretell."""
    learner, data = made(TrainingConfig(steps=10, batch_tasks=16))
    batch = data.draw(learner.config, False, torch.Generator().manual_seed(0))
    tried = batch.trials.mask.any(1)
    assert tried.any()
    assert not tried.all()
    learner.policy.eval()
    return learner.policy, batch, lambda one, foretell: learner._objective(one, 0.1, False, False, foretell)


def test_hypotheses_begin_as_what_an_expert_s_trial_tells() -> None:
    policy, batch, loss = annealing()

    def nearest() -> Tensor:
        with torch.no_grad():
            before, after = (
                policy.infer_belief(batch.demos, one, batch.asks)[0] for one in (batch.trials.left_out, batch.trials)
            )
            off = policy.completed(before) - policy.completed(after).mean(1, keepdim=True)
        return off.square().sum(-1).amin(-1)[batch.trials.mask.any(1)].mean()

    def nearer(foretell: bool) -> float:
        """How much nearer they get by a small step down the gradient."""
        weights, before = policy.completion[0].weight, nearest()
        (gradient,) = torch.autograd.grad(loss(batch, foretell), [weights])
        with torch.no_grad():
            weights -= 1e-3 * gradient
            after = nearest()
            weights += 1e-3 * gradient
        return float(before - after)

    assert nearer(True) > 2 * abs(nearer(False)) > 0


def test_while_hypotheses_foretell_nothing_is_imitated_but_beside_a_trial_that_did_not_fail() -> None:
    _, batch, loss = annealing()
    tried = batch.trials.mask.any(1)
    elsewhere = [replace(batch, actions=batch.actions + (rows * 1.0)[:, None, None]) for rows in (~tried, tried)]
    assert loss(elsewhere[0], True) == loss(batch, True) != loss(elsewhere[1], True)
    assert len({float(loss(one, False).detach()) for one in (batch, *elsewhere)}) == 3
    failed = [replace(one, trials=replace(one.trials, success=-one.trials.mask.float())) for one in (batch, *elsewhere)]
    assert len({float(loss(one, True).detach()) for one in failed}) == 3


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_hypotheses_foretell_only_if_enough_contexts_have_a_trial(share: float) -> None:
    (learner, data), n = made(TrainingConfig(steps=10, batch_tasks=16)), 16
    batch = data.draw(learner.config, False, torch.Generator().manual_seed(0))
    mask = (torch.arange(n) < share * n)[:, None]
    batch = replace(batch, trials=replace(batch.trials, mask=mask, success=mask.float()))
    losses = []
    for foretell in (False, True):
        again, _ = made(learner.config)
        losses.append(again.step(batch, 0.1, foretell=foretell))
    assert (losses[0] != losses[1]) == (share >= FEWEST_TOLD)


def test_where_demonstrations_are_clear_hypotheses_compete_only_without_one() -> None:
    config = TrainingConfig(steps=10, batch_tasks=16, demo_dropout=0.5)
    (learner, data), generator = made(config), torch.Generator().manual_seed(0)
    batch = data.draw(config, False, generator)
    nowhere, everywhere = (replace(batch, demos=replace(batch.demos, mask=batch.demos.mask.new_full((16, 1), one)))
                           for one in (False, True))  # fmt: skip
    learner.policy.eval()

    def loss(one: MetaBatch, temperature: float, clear: bool) -> float:
        return float(learner._objective(one, temperature, clear, False).detach())

    assert loss(nowhere, 1.0, True) == loss(nowhere, 1.0, False) != loss(nowhere, 0.0, False)
    assert loss(everywhere, 1.0, True) == loss(everywhere, 0.0, False) != loss(everywhere, 1.0, False)
    assert loss(batch, 1.0, True) not in (loss(batch, 1.0, False), loss(batch, 0.0, False))


def test_hypotheses_do_not_compete_in_contexts_that_leave_nothing_to_guess() -> None:
    learner, data = made()
    batch = data.draw(CONFIG, False, torch.Generator().manual_seed(0))
    some = torch.arange(len(batch.mask)) % 2 == 0

    def loss(clear: Tensor, temperature: float) -> float:
        return float(learner._objective(replace(batch, clear=clear), temperature, False, False).detach())

    nowhere, everywhere = loss(torch.zeros_like(some), 1.0), loss(torch.ones_like(some), 1.0)
    assert everywhere == pytest.approx(loss(torch.zeros_like(some), 0.0))
    assert everywhere != pytest.approx(nowhere)
    assert loss(some, 1.0) not in (pytest.approx(nowhere), pytest.approx(everywhere))
    assert loss(some, 1.0) + loss(~some, 1.0) == pytest.approx(nowhere + everywhere)


@pytest.mark.parametrize("average_share", [0.0, 0.5])
def test_it_goes_on_from_earlier_weights(average_share: float) -> None:
    config = CONFIG.model_copy(update={"average_share": average_share})
    (learner, data), generator = made(config), torch.Generator().manual_seed(0)
    learner.step(data.draw(config, False, generator), 0.0)
    before = learner.averaged.to_weights()
    for _ in range(3):
        learner.step(data.draw(config, False, generator), 0.0)
    assert any((now != before[name]).any() for name, now in learner.averaged.to_weights().items())
    learner.go_back_to(before)
    for policy in (learner.policy, learner.averaged):
        for name, now in policy.to_weights().items():
            np.testing.assert_array_equal(now, before[name], name)
    assert learner.steps == 4
    learner.step(data.draw(config, False, generator), 0.0)
    assert any((now != before[name]).any() for name, now in learner.averaged.to_weights().items())


def with_attempts() -> tuple[Learner, MetaBatch]:
    """A policy with a memory, and a batch with attempts for it."""
    data = training_set()
    return Learner(policy_for(data), CONFIG), data.draw(CONFIG, True, torch.Generator().manual_seed(0))


def test_from_attempts_that_are_set_apart_the_memory_learns_and_nothing_else() -> None:
    learner, batch = with_attempts()
    assert batch.attempts is not None

    def gradients(batch: MetaBatch) -> dict[str, Tensor]:
        learner.policy.zero_grad()
        learner._objective(batch, 1.0, False, False).backward()
        found = {name: parameter.grad for name, parameter in learner.policy.named_parameters()}
        return {name: gradient.clone() for name, gradient in found.items() if gradient is not None}

    with_them, without = gradients(batch), gradients(replace(batch, attempts=None))
    assert with_them.keys() - without.keys() == {name for name in with_them if name.startswith(MEMORY_WEIGHTS)}, (
        "of everything else the gradient is there without them"
    )
    for name, gradient in without.items():
        torch.testing.assert_close(gradient, with_them[name])
    assert all(gradient.any() for name, gradient in with_them.items() if name.startswith("evidence."))


def test_where_demonstrations_are_clear_an_attempt_beside_one_tells_nothing() -> None:
    learner, batch = with_attempts()
    assert batch.attempts is not None
    assert batch.attempts.demos.mask.any(1).all()
    assert learner._objective._memory_loss(batch.attempts, 1.0, False, False) > 0
    assert learner._objective._memory_loss(batch.attempts, 1.0, True, False) == 0


def test_attempts_that_are_set_apart_leave_no_trace_in_running_statistics() -> None:
    (learner, batch), (other, _) = with_attempts(), with_attempts()
    learner.step(batch, 1.0)
    other.step(replace(batch, attempts=None), 1.0)
    for name, value in learner.policy.encoder.normalise.named_buffers():
        torch.testing.assert_close(value, other.policy.encoder.normalise.get_buffer(name), msg=name)


def test_learners_share_what_one_learns_from_attempts() -> None:
    learner, batch = with_attempts()
    learner.policy.eval()
    whole = learner._objective(batch, 1.0, False, False)
    shares = [batch.share(number, 3) for number in range(3)]
    parts = [learner._objective(one, 1.0, False, False) * len(one.mask) / len(batch.mask) for one in shares]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
