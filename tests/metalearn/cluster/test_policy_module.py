"""The conditioned policy as an RLModule: written, read by RLlib, and acting as the policy does."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule

from metalearn.bundle import Bundle
from metalearn.cluster.policy_module import Conditioned, export_module
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig
from metalearn.data.parts import split
from metalearn.data.spaces import from_vectors
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family

BOX = spaces.Box(-2, 2, (7,), np.float32)
BODY = spaces.Box(-1, np.array([1, 0.1], np.float32), (2,), np.float32)
LISTED = spaces.Dict(objects=spaces.Box(-2, 2, (2, 3), np.float32), robot=spaces.Box(-2, 2, (1,), np.float32))
KINDS = {
    "continuous": (Spec(BOX, BODY, 20, 10.0), ModelConfig()),
    "entities": (Spec(LISTED, BODY, 20, 10.0), ModelConfig()),
    "dynamics": (Spec(BOX, BODY, 20, 10.0), ModelConfig(dynamics_rank=2)),
    "discrete": (Spec(BOX, spaces.Discrete(5), 20, 10.0), ModelConfig(n_hypotheses=8)),
    "discrete from 1": (Spec(BOX, spaces.Discrete(3, start=1), 20, 10.0), ModelConfig()),
    "several choices": (Spec(LISTED, spaces.MultiDiscrete([2, 3], start=[1, 0]), 20, 10.0), ModelConfig()),
}


def bundle_of(spec: Spec, model: ModelConfig) -> Bundle:
    torch.manual_seed(0)
    weights = ConditionalPolicy(model, spec).to_weights()
    return Bundle("any", spec, model.model_dump(mode="json"), weights)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_module_acts_as_the_policy_does(kind, tmp_path):
    spec, model = KINDS[kind]
    bundle, rng = bundle_of(spec, model), np.random.default_rng(1)
    inference = Inference.load(bundle)
    contexts = [Context((spec.example_episode(rng),)), Context(), Context((), (spec.example_episode(rng),))]
    latents = np.stack([belief.latent for belief in inference.infer_belief(contexts)])
    hypotheses, vectors = np.array([0, 1, 3]), rng.uniform(-2, 2, (3, 7)).astype(np.float32)
    seen = from_vectors(vectors, spec.observation_space)

    module = RLModule.from_checkpoint(export_module(bundle, tmp_path / "module"))
    tensors = {name: torch.from_numpy(part.copy()) for name, part in split(seen).items()}
    inputs = {"observation": tensors.get("", tensors), "latent": torch.from_numpy(latents)}
    batch = {Columns.OBS: inputs | {"hypothesis": torch.from_numpy(hypotheses)}}
    acted = module.forward_inference(batch)[Columns.ACTIONS].numpy()

    np.testing.assert_allclose(acted, inference.act(inference.conditioning(latents, hypotheses), seen), atol=1e-6)
    assert all(spec.action_space.contains(action) for action in acted)
    drawn = module.forward_exploration(batch)[Columns.ACTION_DIST_INPUTS]
    assert module.get_exploration_action_dist_cls().from_logits(drawn).sample().shape == acted.shape
    for ours, theirs in zip(inference.infer_belief(contexts), module.inference.infer_belief(contexts), strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-6)


def test_a_folder_that_holds_something_is_not_written_over(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(InvalidConfig, match="not an empty folder"):
        export_module(bundle_of(*KINDS["continuous"]), tmp_path)


def test_weights_of_another_model_are_one_sentence(tmp_path):
    spec, model = KINDS["continuous"]
    damaged = Bundle(
        "any", spec, model.model_copy(update={"latent_dim": 8}).model_dump(), bundle_of(spec, model).weights
    )
    with pytest.raises(InvalidConfig, match="its weights do not fit"):
        export_module(damaged, tmp_path / "module")


def test_actions_that_rllib_refuses_are_one_sentence(tmp_path):
    spec = Spec(BOX, spaces.Box(-1, 1, (2, 2)), 20, 10.0)
    with pytest.raises(InvalidConfig, match=r"bundle any: expected actions of one axis, got Box\(-1.0, 1.0, \(2, 2\)"):
        export_module(bundle_of(spec, ModelConfig()), tmp_path / "module")


@pytest.mark.slow
def test_rllibs_own_runner_plays_a_task_with_it(tmp_path):
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    family = find_family("reach-m2")
    bundle = bundle_of(family.spec, ModelConfig())
    inference = Inference.load(bundle)
    belief = inference.infer_belief([Context()])[0]
    module = RLModule.from_checkpoint(export_module(bundle, tmp_path / "module"))
    config = (
        PPOConfig()
        .environment(
            lambda _: Conditioned(family.make(0), belief, 2), normalize_actions=False, disable_env_checking=True
        )
        .env_runners(num_env_runners=0, explore=False)
        .rl_module(rl_module_spec=RLModuleSpec.from_module(module))
        .debugging(log_level="ERROR")
    )
    runner = SingleAgentEnvRunner(config=config)
    runner.module.load_state_dict(module.state_dict())
    (episode,) = runner.sample(num_episodes=1, explore=False)
    seen = episode.get_observations(slice(0, len(episode)))["observation"]
    latents, hypotheses = np.repeat(belief.latent[None], len(seen), 0), np.full(len(seen), 2)
    np.testing.assert_allclose(
        episode.get_actions(), inference.act(inference.conditioning(latents, hypotheses), seen), atol=1e-6
    )
    runner.stop()
