"""A second runtime: the same beliefs and actions as torch, in a process that has no torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.asks import Urgency
from support.bundles import KINDS, REMEMBERING, asked, contexts, made

from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.units import Units
from metalearn.model.export import with_graphs
from service.inference import OnnxRuntime, TorchRuntime, factory_of


@pytest.mark.parametrize("kind", ["reach", "reach-m4", "push", *KINDS])
def test_both_runtimes_believe_and_do_the_same(kind: str, rng: np.random.Generator) -> None:
    bundle = made(kind)
    torch, onnx = TorchRuntime.load(bundle), OnnxRuntime.load(bundle)
    every = asked(bundle, contexts(bundle.spec, rng), rng)
    for given in ([one] for one in every), [every]:
        for some in given:
            for expected, got in zip(torch.infer_belief(some), onnx.infer_belief(some), strict=True):
                largest = max(1.0, float(np.abs(expected.latent).max()))  # its rounding is in every number
                np.testing.assert_allclose(got.latent, expected.latent, atol=1e-5 * largest, rtol=1e-4)
                np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=min(1e-4, 1e-5 * largest))
                assert (got.success is None) == (expected.success is None) == ("searching" not in kind)
                if got.success is not None:
                    np.testing.assert_allclose(got.success, expected.success, atol=1e-4)
                    np.testing.assert_allclose(got.worth, expected.worth, atol=1e-4)
    beliefs = torch.infer_belief(every)
    z, n = beliefs[0].n_choices, len(beliefs)
    observations = np.stack([bundle.spec.example_episode(rng).observations[0] for _ in range(n)])
    expected, got = (
        one.act(np.stack([one.conditioning(belief, i % z) for i, belief in enumerate(beliefs)]), observations)
        for one in (torch, onnx)
    )
    assert got.dtype == expected.dtype
    # Random heads are a hundred times as steep as trained ones.
    np.testing.assert_allclose(got, expected, atol=1e-4 if kind in KINDS else 1e-5, rtol=1e-4)
    assert len(np.unique(expected.round(4), axis=0)) > 1


def test_a_bundle_from_before_failures_were_read_apart_is_exported_anew_as_it_was(rng: np.random.Generator) -> None:
    bundle = made("reach-m4")
    every = contexts(bundle.spec, rng)
    before, after = (OnnxRuntime.load(one).infer_belief(every) for one in (bundle, with_graphs(bundle)))
    for expected, got in zip(before, after, strict=True):
        np.testing.assert_allclose(got.latent, expected.latent, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-5)


def test_an_ask_changes_what_both_believe_unless_it_is_for_nothing(rng: np.random.Generator) -> None:
    bundle = made("asked")
    shown = contexts(bundle.spec, rng)[4]
    kinds = [{}, *({offer.kind: offer.examples[0]} for offer in bundle.asks)]
    combined = [one | other for one in kinds for other in kinds]
    given = [replace(shown, ask=Ask.from_json(one)) for one in combined]
    expected, got = (one.load(bundle).infer_belief(given) for one in (TorchRuntime, OnnxRuntime))
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(other.latent, one.latent, atol=1e-3, rtol=1e-4)
    known = {str(ask): belief.latent.round(2).tobytes() for ask, belief in zip(combined, expected, strict=True)}
    assert len({frozenset(ask) for ask in combined}) == len(set(known.values())) == 11


@pytest.mark.parametrize("kind", ["reach", "reach-m4", *KINDS])
def test_both_runtimes_say_the_same_of_what_policies_would_do(kind: str, rng: np.random.Generator) -> None:
    bundle = made(kind)
    torch, onnx = TorchRuntime.load(bundle), OnnxRuntime.load(bundle)
    beliefs = torch.infer_belief(contexts(bundle.spec, rng))
    latents, z = np.stack([one.latent for one in beliefs]), len(beliefs[0].probabilities)
    hypotheses, episode = np.arange(len(beliefs)) % z, bundle.spec.example_episode(rng, 7)
    expected, got = (one.heads(latents, hypotheses, episode.observations, episode.actions) for one in (torch, onnx))
    largest = max(1.0, float(np.abs(expected.out).max()))
    np.testing.assert_allclose(got.out, expected.out, atol=1e-4 * largest, rtol=1e-3)
    np.testing.assert_allclose(got.log_sigma, expected.log_sigma, atol=1e-6)
    # What a policy would do is what it does, after the steps before.
    for i in (0, 4):
        conditioning = torch.conditioning(beliefs[i], int(hypotheses[i]))
        now = torch.update(conditioning, episode.observations[:5], episode.actions[:4])
        done = torch.act(now[None], episode.observations[4:5])
        would = Units(bundle.spec, **dict(ModelConfig.model_validate(bundle.model).units))
        if not bundle.spec.discrete:
            np.testing.assert_allclose(would.decode_actions(expected.out[i, 4:5]), done, atol=1e-3, rtol=1e-3)


OF_PICTURES = ("memory of parts", "memory of pictures", "memory of symbols", "watched")
"""Of which a memory adds up what a network makes of pixels, ten times as large."""


@pytest.mark.parametrize("kind", [*REMEMBERING, "reach"])
def test_both_learn_the_same_while_they_act(kind: str, rng: np.random.Generator) -> None:
    bundle = made(kind)
    episode = bundle.spec.example_episode(rng, 6)
    torch, onnx = TorchRuntime.load(bundle), OnnxRuntime.load(bundle)
    belief = torch.infer_belief([Context((episode,))])[0]
    conditioning, seen = torch.conditioning(belief, 0), (episode.observations, episode.actions)
    expected, got = torch.update(conditioning, *seen), onnx.update(conditioning, *seen)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=3e-5 if kind in OF_PICTURES else 1e-7)
    acts = [one.act(got[None], episode.observations[-1:]) for one in (torch, onnx)]
    np.testing.assert_allclose(*acts, atol=1e-4)
    assert torch.adapts_online == onnx.adapts_online == (kind != "reach")
    assert torch.adapts_online == (not np.array_equal(got, conditioning))


def test_graphs_leave_a_bundle_the_one_it_was(tmp_path: Path) -> None:
    bundle = made("categorical")
    assert bundle.with_graphs({}).id == bundle.id
    loaded = Bundle.load(bundle.save(tmp_path / "bundle"))
    assert loaded.graphs == bundle.graphs
    (tmp_path / "bundle" / "act.onnx").write_bytes(b"something else")
    with pytest.raises(InvalidConfig, match=r"act\.onnx does not match the digest"):
        Bundle.load(tmp_path / "bundle")


def test_the_files_of_a_bundle_run_in_onnx_runtime_as_they_are(tmp_path: Path, rng: np.random.Generator) -> None:
    import onnxruntime

    bundle = made("reach")
    bundle.save(tmp_path)
    beliefs = OnnxRuntime.load(bundle).infer_belief(contexts(bundle.spec, rng))
    observations = rng.normal(size=(len(beliefs), bundle.spec.observation_size)).astype(np.float32)
    latents, hypotheses = np.stack([b.latent for b in beliefs]), np.zeros(len(beliefs), np.int64)
    (conditionings,) = onnxruntime.InferenceSession(tmp_path / "conditioning.onnx").run(
        None, {"latent": latents, "hypothesis": hypotheses}
    )
    session = onnxruntime.InferenceSession(tmp_path / "act.onnx")
    (got,) = session.run(None, {"conditioning": conditionings, "observations": observations})
    runtime = TorchRuntime.load(bundle)
    expected = runtime.act(np.stack([runtime.conditioning(belief, 0) for belief in beliefs]), observations)
    np.testing.assert_allclose(np.clip(got, -1, 1), expected, atol=1e-5)


def test_a_bundle_that_lacks_what_it_remembers_with_says_how_to_get_it() -> None:
    bundle = made("dynamics")
    older = bundle.with_graphs({name: graph for name, graph in bundle.graphs.items() if name != "remember"})
    with pytest.raises(InvalidConfig, match=r"no remember\.onnx in it.*`wtl export BUNDLE`"):
        OnnxRuntime.load(older)


def test_what_cannot_be_run_says_why() -> None:
    with pytest.raises(InvalidConfig, match="wtl export"):
        OnnxRuntime.load(made("reach").with_graphs({}))
    with pytest.raises(InvalidConfig, match="its graphs cannot be run"):
        OnnxRuntime.load(made("reach").with_graphs(dict.fromkeys(("belief", "conditioning", "act"), b"no graph")))
    with pytest.raises(InvalidData, match="no ask"):
        OnnxRuntime.load(made("reach")).infer_belief([Context(ask=Ask((Urgency(),)))])


SERVE = """
import sys
import numpy as np
from fastapi.testclient import TestClient
from pathlib import Path
from service.app import create_app
from service.client import Client
from service.settings import Settings

with TestClient(create_app(Settings(data=Path({data!r}), runtime={runtime!r}))) as http:
    client = Client(http=http)
    model = client.model("reach")
    adaptation = client.adapt("reach", demos=[model.example])
    adaptation.add_trials([model.example]).act(model.example.observations)
    assert http.get("/v1/models").status_code == 200
heavy = sorted({{"torch", "ray"}} & set(sys.modules))
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


@pytest.mark.parametrize(("runtime", "clean"), [("onnx", True), ("torch", False)])
def test_a_server_on_onnx_imports_neither_torch_nor_ray_and_this_test_can_fail(
    runtime: str, clean: bool, tmp_path: Path
) -> None:
    script = SERVE.format(data=str(tmp_path), runtime=runtime)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode == 0) is clean, done.stderr
    assert clean or "imported ['torch']" in done.stderr


def test_the_setting_names_the_runtime() -> None:
    assert factory_of("onnx") == OnnxRuntime.load
    assert factory_of("torch") == factory_of("auto") == TorchRuntime.load
