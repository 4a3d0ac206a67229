"""One task as an ordinary environment: the same numbers as row 0 of its vector environment, in every family."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from support.opengl import skip_unless_drawn

from metalearn.data.parts import named
from metalearn.data.spec import Spec
from metalearn.tasks.family import SPLITS, TaskVectorEnv, VectorFamily, make_vec
from metalearn.tasks.registry import FAMILIES, find_family
from metalearn.tasks.single_row import SingleRowEnv


def assert_same_parts(alone: object, rows: object) -> None:
    for name, part in named(rows).items():
        np.testing.assert_array_equal(named(alone)[name], part[0], strict=True)


@pytest.mark.parametrize("scene", ["demo", "trial"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_single_environment_is_row_0_of_the_vector_environment(name: str, scene: str):
    skip_unless_drawn(name)
    family, rng = find_family(name), np.random.default_rng(0)
    if not isinstance(family, VectorFamily):
        pytest.skip("its environments are its own")
    index = family.splits["test"][7]
    single, vector = family.make(index, scene), make_vec(family, [index], scene)
    assert isinstance(single, SingleRowEnv)
    assert single.observation_space == vector.single_observation_space
    assert single.action_space == vector.single_action_space
    alone, info = single.reset(seed=3)
    row, infos = vector.reset(seed=[3])
    ended, n_steps = False, 0
    while not ended and n_steps < 40:
        assert_same_parts(alone, row)
        assert info == {key: values[0] for key, values in infos.items()}
        action = single.expert_action()
        np.testing.assert_array_equal(action, vector.expert_actions()[0], strict=True)
        if not family.spec.discrete:
            action = np.clip(action + rng.normal(0, 0.1, action.shape), -1, 1).astype(np.float32)
        alone, reward, terminated, truncated, info = single.step(action)
        row, rewards, terminations, truncations, infos = vector.step(np.asarray(action)[None])
        assert (reward, terminated, truncated) == (rewards[0], terminations[0], truncations[0])
        assert type(info["success"]) is bool
        ended, n_steps = terminated or truncated, n_steps + 1
    assert_same_parts(alone, row)
    assert info == {key: values[0] for key, values in infos.items()}
    single.close()
    vector.close()


def test_episodes_without_a_seed_follow_from_the_last_seed():
    def layouts(name: str) -> list[np.ndarray]:
        env = find_family(name).make(0)
        return [env.reset(seed=3)[0], env.reset()[0], env.reset()[0]]

    for name in ("reach-m2", "cheetah-vel"):
        first, second = layouts(name), layouts(name)
        np.testing.assert_array_equal(first, second)
        assert len({observation.tobytes() for observation in first}) == 3


class Counters(TaskVectorEnv):
    """Counts the steps of each row; has neither an expert nor pictures."""

    def __init__(self, spec: Spec, n_tasks: int) -> None:
        super().__init__(spec, n_tasks)
        assert self.action_space == batch_space(spec.action_space, n_tasks)

    def reset(self, *, seed=None, options=None):
        self.counts = np.zeros((self.num_envs, 1), np.float32)
        return self.counts.copy(), {}

    def step(self, actions):
        self.counts += 1
        over = self.counts[:, 0] >= 2
        return self.counts.copy(), np.zeros(self.num_envs, np.float32), over, ~over & False, {"success": over}

    def expert_actions(self):
        return None


class Counting:
    name, version, splits = "counting", 1, SPLITS
    spec = Spec(spaces.Box(0, 9, (1,), np.float32), spaces.Discrete(2), horizon=2, rate_hz=1.0)

    def make(self, index, scene="trial", render_mode=None) -> gym.Env:
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices, scene="trial") -> TaskVectorEnv:
        return Counters(self.spec, len(indices))


def test_a_family_without_an_expert_or_pictures_has_none_in_its_single_environment_either():
    env = Counting().make(0, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.expert_action() is None
    assert env.render() is None
    assert [env.step(1)[2] for _ in range(2)] == [False, True]


def test_a_vector_environment_refuses_a_wrong_number_of_seeds():
    env = make_vec(find_family("reach-m2"), [0, 1])
    with pytest.raises(ValueError, match="each of 2 rows, got 3"):
        env.reset(seed=[1, 2, 3])
