"""Frames in a stack are a picture, except in bundles from before, to which they are so many numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from metalearn.bundle import CHANNELS_BEFORE, Bundle
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy

SMALL = ModelConfig(encoder_width=16, policy_width=16, latent_dim=8, n_hypotheses=2)
FRAMES, PUSH = spaces.Box(0, 255, (8, 8, 9), np.uint8), spaces.Box(-1, 1, (2,), np.float32)
NOW = Spec(FRAMES, PUSH, horizon=8, rate_hz=10.0)
BEFORE = Spec(FRAMES, PUSH, horizon=8, rate_hz=10.0, channels=CHANNELS_BEFORE)


def bundle_of(spec: Spec) -> Bundle:
    torch.manual_seed(0)
    return Bundle("frames", spec, SMALL.model_dump(mode="json"), ConditionalPolicy(SMALL, spec).to_weights())


def acted(bundle: Bundle) -> np.ndarray:
    demo = NOW.example_episode(np.random.default_rng(0))
    inference = Inference.load(bundle)
    (belief,) = inference.infer_belief([Context((demo,))])
    return inference.act(inference.conditioning(belief.latent[None], np.array([1])), demo.observations[:1])


@pytest.mark.parametrize(("spec", "kind"), [(NOW, "image"), (BEFORE, "vector")])
def test_a_bundle_reads_its_observations_as_it_was_trained_to(spec: Spec, kind: str, tmp_path: Path) -> None:
    bundle = bundle_of(spec)
    loaded = Bundle.load(bundle.save(tmp_path / "once"))
    again = Bundle.load(loaded.save(tmp_path / "again"))
    for one in (loaded, again):
        assert ([part.kind for part in one.spec.parts], one.id) == ([kind], bundle.id)
        np.testing.assert_array_equal(acted(one), acted(bundle))


def test_what_says_nothing_of_channels_is_from_before(tmp_path: Path) -> None:
    heads = [json.loads((bundle_of(one).save(tmp_path) / "bundle.json").read_text()) for one in (NOW, BEFORE)]
    assert [head.get("most_channels") for head in heads] == [32, None]
    assert heads[0]["spec"] == heads[1]["spec"]


def test_a_number_of_channels_that_is_none_is_refused(tmp_path: Path) -> None:
    file = bundle_of(NOW).save(tmp_path) / "bundle.json"
    file.write_text(file.read_text().replace('"most_channels": 32', '"most_channels": "many"'))
    with pytest.raises(InvalidConfig, match="most_channels: expected a whole number, at least 1, got 'many'"):
        Bundle.load(tmp_path)
