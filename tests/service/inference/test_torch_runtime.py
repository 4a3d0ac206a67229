"""The real policy behind the engine's protocol: what is served is what the model says."""

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from gymnasium import spaces
from support.pointing import SPEC

from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from service.app import create_app
from service.client import Client
from service.inference import TorchRuntime
from service.settings import Settings

DISCRETE = Spec(spaces.Box(-1, 1, (4,), np.float32), spaces.Discrete(3, start=1), horizon=20, rate_hz=5.0)


def untrained(name: str, spec: Spec) -> Bundle:
    from metalearn.model.policy import ConditionalPolicy

    config = ModelConfig(encoder_width=16, latent_dim=8, policy_width=16)
    return Bundle(name, spec, config.model_dump(mode="json"), ConditionalPolicy(config, spec).to_weights())


@pytest.mark.parametrize("spec", [SPEC, DISCRETE], ids=["box", "discrete"])
def test_what_is_served_is_what_the_model_says(spec: Spec, tmp_path: Path, rng: np.random.Generator) -> None:
    from metalearn.model.inference import Inference  # the other tests of the service run without torch

    bundle = untrained("any", spec)
    bundle.save(tmp_path / "models" / "any")
    inference = Inference.load(bundle)
    observations = spec.example_episode(rng, 6).observations
    with TestClient(create_app(Settings(data=tmp_path / "data", models=tmp_path / "models"))) as http:
        client = Client(http=http)
        example = client.model("any").example
        for context in (
            Context(),
            Context((example,)),
            Context((example, example.without_actions()), (spec.example_episode(rng), example)),
        ):
            adaptation = client.adapt("any", context.demos, context.trials)
            [belief] = inference.infer_belief([context])
            latents, hypotheses = np.stack([belief.latent] * 7), np.full(7, belief.map_hypothesis)
            expected = inference.act(inference.conditioning(latents, hypotheses), observations)
            actions = adaptation.act(observations)
            assert actions.dtype == expected.dtype
            np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-6)
            with adaptation.episode(explore=False) as episode:
                np.testing.assert_allclose(episode.act(observations[0]), expected[0], rtol=1e-5, atol=1e-6)
                assert episode.finish(observations[1], success=True).n_trials == len(context.trials) + 1


def test_a_bundle_does_not_decide_what_a_server_imports() -> None:
    bundle = Bundle("any", SPEC, {"image_encoder": "antigravity:fly"}, {})
    with pytest.raises(InvalidConfig, match=r"antigravity:fly, which a server does not import.*WTL_RUNTIME=onnx"):
        TorchRuntime.load(bundle)


def test_an_episode_learns_from_its_own_steps_what_actions_do(tmp_path: Path) -> None:
    import torch

    from metalearn.model.inference import HypothesisActor, Inference
    from metalearn.model.policy import ConditionalPolicy

    torch.manual_seed(0)
    config = ModelConfig(encoder_width=16, latent_dim=8, policy_width=16, dynamics_rank=2)
    policy = ConditionalPolicy(config, SPEC)
    assert policy.dynamics
    policy.dynamics.get_buffer("basis")[[0, 1], [0, 1], [0, 1]] = 1.0
    bundle = Bundle("body", SPEC, config.model_dump(mode="json"), policy.to_weights())
    bundle.save(tmp_path / "models" / "body")
    walk = SPEC.example_episode(np.random.default_rng(1), 6).observations
    with TestClient(create_app(Settings(data=tmp_path / "data", models=tmp_path / "models"))) as http:
        client = Client(http=http)
        demo = client.model("body").example
        adaptation = client.adapt("body", [demo])
        with adaptation.episode(explore=False) as episode:
            served = np.stack([episode.act(observation) for observation in walk[:-1]])
            episode.finish(walk[-1], success=False)
        unmoved = client.adapt("body", [demo]).act(walk[1:2])
    inference = Inference.load(bundle)
    [belief] = inference.infer_belief([Context((demo,))])
    actor = HypothesisActor(inference, belief.latent[None], np.array([belief.map_hypothesis]))
    np.testing.assert_allclose(served, [actor.act(seen[None])[0] for seen in walk[:-1]], rtol=1e-4, atol=1e-5)
    assert np.abs(served[1] - unmoved[0]).max() > 1e-3
