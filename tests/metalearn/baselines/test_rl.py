"""PPO on tasks whose solution is known. What needs RLlib costs seconds to import, and is marked slow."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from support.doors import DiscreteDoors, Doors

from metalearn.baselines.bc import Bc, BcConfig
from metalearn.baselines.learning_curve import training_seeds
from metalearn.baselines.mixture import Network
from metalearn.baselines.rl import Layouts, Ppo, Rl, RlFromBc, cloned_network
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig

QUICK = Ppo(episodes_per_batch=5, n_envs=5, minibatch=40, random_episodes=4, n_test=20)
CONFIG = BcConfig(width=8, steps=1)


@pytest.fixture
def cloned(tmp_path):
    """A folder as `METHODS["bc"].train` leaves it, its weights random."""
    torch.manual_seed(0)
    network = Network(Doors.spec, CONFIG)
    save_file({name: value.numpy() for name, value in network.state_dict().items()}, tmp_path / "weights.safetensors")
    (tmp_path / "method.json").write_text(json.dumps({"name": "bc", "config": CONFIG.model_dump(mode="json")}))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("family", ["support.doors:Doors", "support.doors:DiscreteDoors"])
def test_rl_finds_which_door_is_right_without_a_cluster(family):
    import ray

    curve = Rl(QUICK).optimise(family, 1, 150, seed=0)
    assert curve.success[-1] > 0.9
    assert not ray.is_initialized()


@pytest.mark.slow
def test_rl_reads_parts_and_takes_several_choices_at_once():
    curve = Rl(QUICK).optimise("support.lines:Kitchen", 1, 60, seed=0)
    assert curve.success[-1] > curve.success[0]


@pytest.mark.slow
def test_rl_from_bc_begins_as_the_cloned_policy_does_and_learns_on(cloned):
    from metalearn.baselines.rl_module import ActorCritic

    network = cloned_network(cloned, Doors.spec)
    config = {"spec": Doors.spec.to_json(), "mean": np.zeros(2), "std": np.ones(2), "cloned": network}
    module = ActorCritic(
        observation_space=Doors.spec.observation_space, action_space=Doors.spec.action_space, model_config=config
    )
    seen = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    expected = Bc(network, Doors.spec).adapt([Context()] * 50, np.random.default_rng(0)).act(seen)
    np.testing.assert_allclose(np.clip(module.best(seen), -1, 1), expected, atol=1e-5)
    curve = RlFromBc(QUICK).optimise("support.doors:Doors", 0, 150, seed=0, start=cloned)
    assert curve.success[-1] > 0.9


@pytest.mark.slow
def test_the_likelihood_of_the_mixture_is_the_sum_over_its_parts():
    from metalearn.baselines.rl_module import mixture_of

    inputs = torch.tensor([[0.0, np.log(3.0), -1.0, 2.0, np.log(0.5)]])
    mixture = mixture_of(2, 1).from_logits(inputs)
    parts = [
        weight * np.exp(-2 * (0.5 - mean) ** 2) / (0.5 * np.sqrt(2 * np.pi)) for weight, mean in [(0.25, -1), (0.75, 2)]
    ]
    np.testing.assert_allclose(mixture.logp(torch.tensor([[0.5]])).exp().item(), sum(parts), rtol=1e-5)
    assert mixture.to_deterministic().sample().tolist() == [[2.0]]


@pytest.mark.slow
def test_equal_seeds_give_equal_curves():
    first, second = (Rl(QUICK).optimise("support.doors:Doors", 1, 20, seed=3) for _ in range(2))
    assert first == second


def test_every_reset_is_the_next_layout_of_the_training_stream():
    env = Layouts(Doors().make(1), Doors.spec, iter(training_seeds(1, 0, 0, 2)))
    starts = [float(env.reset(seed=99)[0][0]) for _ in range(2)]
    expected = [float(Doors().make(1).reset(seed=seed)[0][0]) for seed in training_seeds(1, 0, 0, 2)]
    assert starts == expected


def test_discrete_actions_count_from_zero_for_the_learner_and_from_the_start_for_the_task():
    env = Layouts(DiscreteDoors().make(1), DiscreteDoors.spec, iter(range(9)))
    assert env.action_space.start == 0
    before = env.reset()[0][0]
    assert env.step(0)[0][0] < before


def test_what_cannot_be_started_from_is_one_sentence(cloned, tmp_path):
    with pytest.raises(InvalidConfig, match="rl starts from nothing: expected no start"):
        Rl().optimise("support.doors:Doors", 0, 10, 0, cloned)
    with pytest.raises(InvalidConfig, match="rl-from-bc: expected as start the folder of a trained bc, got none"):
        RlFromBc().optimise("support.doors:Doors", 0, 10, 0)
    with pytest.raises(InvalidConfig, match="no behaviour-cloned policy at"):
        cloned_network(tmp_path / "nowhere", Doors.spec)
    with pytest.raises(InvalidConfig, match="no behaviour-cloned policy for these tasks at"):
        cloned_network(cloned, DiscreteDoors.spec)
