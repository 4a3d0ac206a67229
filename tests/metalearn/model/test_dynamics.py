"""What an action does is found out from few steps, and acted through."""

import numpy as np
import pytest
import torch
from torch import Tensor

from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig
from metalearn.model.dynamics import Dynamics
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.envs.reach_dynamics import ReachDynamics
from metalearn.tasks.rollout import demonstrate, rollout

FAMILY = ReachDynamics("reach-dynamics", n_objects=4, n_candidates=2)
STD = torch.tensor([1.0, 2.0, 0.5])
WORLD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])  # how the observation follows a velocity


def turn(angle: float) -> Tensor:
    return torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)


def steps(jacobian: Tensor, n: int, seed: int = 0) -> Tensor:
    """The sums of n random steps in a world where change = jacobian @ action."""
    actions = torch.randn((n, 2), generator=torch.Generator().manual_seed(seed))
    return Dynamics.sums(actions @ jacobian.T, actions).sum(0)


@pytest.fixture
def dynamics() -> Dynamics:
    """Fitted to worlds that are turned by any angle."""
    found = Dynamics(2, 3, 2)
    found.fit(
        torch.stack([steps(WORLD @ turn(angle), 10, i) for i, angle in enumerate(np.linspace(0, 6.28, 400))]), STD
    )
    return found


def test_one_step_tells_a_turn_that_was_never_seen(dynamics: Dynamics) -> None:
    jacobian, known = dynamics(steps(WORLD @ turn(1.234), 1)[None], STD)
    torch.testing.assert_close(jacobian[0] * STD[:, None], WORLD @ turn(1.234), atol=0.02, rtol=0.02)
    assert known > 0.99


def test_nothing_tried_nothing_known(dynamics: Dynamics) -> None:
    jacobian, known = dynamics(torch.zeros(1, dynamics.n_sums), STD)
    assert known.abs() < 1e-5
    assert jacobian.abs().max() < 0.2


def test_an_action_does_what_is_wanted_once_the_world_is_known(dynamics: Dynamics) -> None:
    world = WORLD @ turn(2.0)
    jacobian, known = dynamics(steps(world, 3)[None, None], STD)
    wanted = world @ torch.tensor([0.3, -0.4]) / STD
    action = dynamics.act_through(wanted[None, None, None], jacobian, known)
    torch.testing.assert_close(action.detach()[0, 0, 0], torch.tensor([0.3, -0.4]), atol=0.05, rtol=0.05)


def test_what_is_too_fast_is_done_slower_in_the_same_direction(dynamics: Dynamics) -> None:
    world = WORLD @ turn(2.0)
    jacobian, known = dynamics(steps(world, 3)[None, None], STD)
    wanted = world @ torch.tensor([3.0, -4.0]) / STD
    action = dynamics.act_through(wanted[None, None, None], jacobian, known).detach()[0, 0, 0]
    torch.testing.assert_close(action, torch.tensor([0.75, -1.0]), atol=0.05, rtol=0.05)


def test_what_an_actor_learns_while_acting_is_what_its_episode_tells_afterwards() -> None:
    torch.manual_seed(0)
    inference = Inference(ConditionalPolicy(ModelConfig(dynamics_rank=2), FAMILY.spec), FAMILY.spec)
    demo = demonstrate(FAMILY, [0], [1], "demo").episodes[0].without_actions()
    actor = inference.adapt([Context((demo,))], np.random.default_rng(0))
    env = FAMILY.make_vec([0])
    trial = rollout(env, actor, [3]).episodes[0]
    actor.act(trial.observations[-1:])
    n_sums = inference.policy.n_sums
    afterwards = inference.infer_belief([Context((demo,), (trial,))])[0].latent
    np.testing.assert_allclose(actor._conditioning[0, -n_sums:], afterwards[-n_sums:], atol=1e-4)


def test_discrete_actions_have_no_jacobian() -> None:
    from gymnasium import spaces

    from metalearn.data.spec import Spec

    spec = Spec(spaces.Box(-1, 1, (3,)), spaces.Discrete(4), 10, 10.0)
    with pytest.raises(InvalidConfig, match="dynamics_rank"):
        ConditionalPolicy(ModelConfig(dynamics_rank=1), spec)
