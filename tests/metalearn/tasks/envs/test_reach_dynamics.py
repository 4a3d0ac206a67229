"""The dynamics differ by task; demonstrations do not reveal them, and the expert knows them."""

import numpy as np

from metalearn.tasks.envs.reach_dynamics import GAINS, ReachDynamics
from metalearn.tasks.rollout import demonstrate

FAMILY = ReachDynamics("reach-dynamics", n_objects=4, n_candidates=2)
INDICES = list(range(2_000_000, 2_000_200))


def test_the_expert_succeeds_under_all_dynamics() -> None:
    assert demonstrate(FAMILY, INDICES, INDICES, "trial").success.all()


def test_an_action_moves_as_the_dynamics_of_its_task_say() -> None:
    env = FAMILY.make_vec(INDICES[:5])
    before, _ = env.reset(seed=INDICES[:5])
    action = np.tile(np.array([0.6, -0.2], np.float32), (5, 1))
    after, *_ = env.step(action)
    for row, index in enumerate(INDICES[:5]):
        np.testing.assert_allclose(
            (after - before)[row, :2], 0.1 * FAMILY.dynamics(index) @ action[row], rtol=1e-4, atol=1e-6
        )


def test_dynamics_are_rotations_with_gains_and_differ_between_groups() -> None:
    matrices = np.stack([FAMILY.dynamics(index) for index in INDICES[::2]])
    gains = np.sqrt(np.linalg.det(matrices))
    assert ((gains > GAINS[0]) & (gains < GAINS[1])).all()
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), gains[:, None, None] ** 2 * np.eye(2), atol=1e-9)
    assert len(np.unique(gains)) == len(matrices)


def test_demonstrations_reveal_nothing_about_the_dynamics() -> None:
    usual = demonstrate(ReachDynamics("x", 4, 2), INDICES[:1], [7], "demo").episodes[0]
    steps = np.diff(usual.observations[:, :2], axis=0)
    np.testing.assert_allclose(steps, 0.1 * usual.actions, atol=1e-5)  # as if nothing were rotated


def test_siblings_share_their_dynamics() -> None:
    sibling = FAMILY.sibling(INDICES[0], np.random.default_rng(1))
    np.testing.assert_array_equal(FAMILY.dynamics(sibling), FAMILY.dynamics(INDICES[0]))
