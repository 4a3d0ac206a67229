"""An adaptation leaves the server: its episodes come back equal, and its policy acts as the server does."""

import asyncio
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gymnasium import spaces
from support.api_keys import Make
from support.bundles import REMEMBERING, contexts, made
from support.pointing import bundle as pointing
from support.serving import served

from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.formats import read_episodes, read_minari
from metalearn.data.parts import split
from metalearn.data.spec import Spec
from metalearn.model.export import with_graphs
from metalearn.model.policy import ConditionalPolicy
from service.app import create_app
from service.client import Adaptation, AsyncClient, Client, ClientError, Export
from service.inference import OnnxRuntime
from service.inference.onnx_policy import remembering, remembering_signature, signature, standalone
from service.settings import SHIPPED_MODELS, Settings
from wtl.cli import main

SHIPPED = ("reach", "reach-m4", "push")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=["onnx", "torch"])
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(data=tmp_path_factory.mktemp("data"), runtime=request.param)
    with TestClient(create_app(settings), raise_server_exceptions=False) as http:
        yield http


def run(policy: bytes | None, **inputs: np.ndarray) -> np.ndarray:
    """ONNX Runtime alone."""
    assert policy is not None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    (actions,) = onnxruntime.InferenceSession(policy, options).run(None, inputs)
    return actions


def adapted(http: TestClient, model: str) -> tuple[Adaptation, np.ndarray]:
    """An adaptation that has seen a demo and a failed trial, and observations like those of training."""
    client, rng = Client(http=http), np.random.default_rng(1)
    spec = Spec.from_json(dict(client.model(model).spec))
    failed = replace(spec.example_episode(rng, 9), success=False)
    adaptation = client.adapt(model, [spec.example_episode(rng, 12)]).add_trials([failed])
    weights = http.app.state.container.registry.get(model).bundle.weights
    drawn = rng.normal(size=(64, spec.observation_size)).astype(np.float32)
    return adaptation, weights["encoder.observations.mean"] + weights["encoder.observations.std"] * drawn


@pytest.mark.parametrize("model", SHIPPED)
def test_the_exported_policy_does_what_the_server_does(shipped: TestClient, model: str) -> None:
    adaptation, seen = adapted(shipped, model)
    exported = adaptation.export()
    onnx.checker.check_model(onnx.load_from_string(exported.policy), full_check=True)
    actions = run(exported.policy, observation=seen)
    np.testing.assert_allclose(actions, adaptation.act(seen), atol=3e-5)  # two libraries round
    assert actions.dtype == np.float32
    assert actions.std(0).min() > 0.01
    assert (np.abs(actions) < 1).mean() > 0.1
    far = run(exported.policy, observation=100 * seen)
    np.testing.assert_allclose(far, adaptation.act(100 * seen), atol=1e-3)  # rounding grows with it
    assert np.abs(far).max() == 1  # where the action space ends
    container = shipped.app.state.container
    runtime = container.registry.get(model).runtime
    belief = container.adaptations.adapted_policy(container.adaptations.read("default", adaptation.id)).belief
    np.testing.assert_allclose(
        [one["probability"] for one in exported.manifest["hypotheses"]], belief.probabilities, atol=1e-6
    )
    for z in range(len(belief.probabilities)):
        hypotheses = np.full(len(seen), z)
        expected = runtime.act(np.stack([runtime.conditioning(belief, z)] * len(seen)), seen)
        np.testing.assert_allclose(run(exported.policy, observation=seen, hypothesis=hypotheses), expected, atol=3e-5)
        if z == exported.manifest["map_hypothesis"]:
            np.testing.assert_array_equal(run(exported.policy, observation=seen, hypothesis=hypotheses), actions)


@pytest.mark.parametrize("model", ["reach", "push"])
def test_what_was_exported_makes_the_same_adaptation_again(shipped: TestClient, model: str) -> None:
    adaptation, _ = adapted(shipped, model)
    archive = zipfile.ZipFile(io.BytesIO(shipped.get(f"/v1/adaptations/{adaptation.id}/export").content))
    answer = shipped.post(
        "/v1/adaptations",
        content=archive.read("episodes.safetensors"),
        headers={"Content-Type": "application/x-safetensors"},
    )
    assert answer.status_code == 201, answer.text
    again = Client(http=shipped).adaptation(answer.json()["id"])
    assert (again.model_version, again.n_demos, again.n_trials) == (adaptation.model_version, 1, 1)
    adaptations = shipped.app.state.container.adaptations
    beliefs = [adaptations.adapted_policy(adaptations.read("default", one.id)).belief for one in (adaptation, again)]
    np.testing.assert_array_equal(beliefs[0].latent, beliefs[1].latent)
    np.testing.assert_array_equal(beliefs[0].probabilities, beliefs[1].probabilities)
    assert again.export().policy == adaptation.export().policy
    assert again.episodes() == adaptation.episodes()


def test_the_policy_of_an_adaptation_that_asks_does_what_the_server_does(tmp_path: Path) -> None:
    made("asked").save(tmp_path / "models" / "asked")
    served_here = create_app(Settings(data=tmp_path / "data", models=tmp_path / "models", runtime="onnx"))
    with TestClient(served_here, raise_server_exceptions=False) as http:
        adaptation, seen = adapted(http, "asked")
        policies = []
        for ask in ({}, {"return": 120, "goal": [0.5, 0.25]}, {"better": True}):
            asks = adaptation.ask_for(ask)
            exported = asks.export()
            policies.append(run(exported.policy, observation=seen))
            np.testing.assert_allclose(policies[-1], asks.act(seen), atol=1e-3)
            again = http.post(
                "/v1/adaptations",
                content=zipfile.ZipFile(io.BytesIO(exported.archive)).read("episodes.safetensors"),
                headers={"Content-Type": "application/x-safetensors"},
            )
            assert again.json()["ask"] == asks.ask
        assert min(np.abs(one - policies[0]).max() for one in policies[1:]) > 0.01


def test_the_same_version_makes_the_same_bytes_and_another_one_others(shipped: TestClient) -> None:
    adaptation, _ = adapted(shipped, "reach")
    path = f"/v1/adaptations/{adaptation.id}/export"
    now, before = shipped.get(path), shipped.get(path, params={"version": 1})
    assert now.headers["content-type"] == "application/zip"
    assert now.headers["content-disposition"] == f'attachment; filename="{adaptation.id}-v2.zip"'
    shipped.app.state.container.engine.evict(adaptation.id)
    adapted(shipped, "reach")
    assert shipped.get(path).content == shipped.get(path, params={"version": 2}).content == now.content
    exported, older = Export.of(now.content), Export.of(before.content)
    assert (exported.manifest["version"], older.manifest["version"]) == (2, 1)
    assert (len(exported.context.trials), len(older.context.trials)) == (1, 0)
    assert exported.policy != older.policy
    assert exported.manifest["bundle"] == shipped.app.state.container.registry.get("reach").bundle.id
    entries = zipfile.ZipFile(io.BytesIO(now.content)).infolist()
    assert [entry.filename for entry in entries] == ["manifest.json", "episodes.safetensors", "policy.onnx"]
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}


EVERY = (
    "categorical", "entities", "dynamics", "memory of parts", "memory of pictures", "memory of symbols", "watched",
    "images", "frames in a stack", "tuple", "switches", "one-choice",
)  # fmt: skip
IMAGES = Spec(spaces.Box(0, 255, (2, 4), np.uint8), spaces.Box(-1.0, 2.0, (2,), np.float32), 30, 10.0)


def of_images() -> Bundle:
    config = ModelConfig(n_hypotheses=2, n_frames=2)
    weights = ConditionalPolicy(config, IMAGES).to_weights()
    return with_graphs(Bundle("images", IMAGES, config.model_dump(mode="json"), weights))


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_of_model_can_leave(kind: str, rng: np.random.Generator) -> None:
    bundle = of_images() if kind == "images" else made(kind)
    runtime, spec = OnnxRuntime.load(bundle), bundle.spec
    belief = runtime.infer_belief([contexts(spec, rng)[4]])[0]
    policy = standalone(bundle, belief)
    assert policy == standalone(bundle, belief)
    seen = spec.example_episode(rng, 20).observations
    hypotheses = np.arange(len(seen)) % len(belief.probabilities)
    expected = runtime.act(np.stack([runtime.conditioning(belief, z) for z in hypotheses]), seen)
    got = run(policy, **named("observation", seen), hypothesis=hypotheses)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, atol=1e-5 if kind in {"categorical", "images"} else 1e-4)
    promised = signature(bundle)
    session = onnxruntime.InferenceSession(policy)
    inputs = [*session.get_inputs(), *session.get_overridable_initializers()]
    assert {one["name"] for one in promised["inputs"]} == {one.name for one in inputs}
    assert list(got.shape[1:]) == promised["outputs"][0]["shape"][1:]
    assert str(got.dtype) == promised["outputs"][0]["dtype"]


def named(name: str, observations: np.ndarray) -> dict[str, np.ndarray]:
    """Observations as inputs of an exported graph."""
    return {f"{name}.{part}" if part else name: np.ascontiguousarray(x) for part, x in split(observations).items()}


@pytest.mark.parametrize("kind", REMEMBERING)
def test_what_steps_tell_is_an_input_that_another_graph_makes(kind: str, rng: np.random.Generator) -> None:
    bundle = made(kind)
    runtime, spec = OnnxRuntime.load(bundle), bundle.spec
    belief = runtime.infer_belief([contexts(spec, rng)[4]])[0]
    policy, episode = standalone(bundle, belief), spec.example_episode(rng, 12)
    seen, last = episode.observations, episode.observations[-1:]
    conditioning = runtime.conditioning(belief, belief.map_hypothesis)
    later = runtime.update(conditioning, seen, episode.actions)
    steps = named("observation", seen[:-1]) | named("next_observation", seen[1:]) | {"action": episode.actions}
    effects = run(remembering(bundle), **steps).sum(0, keepdims=True)
    for graph in (policy, remembering(bundle)):
        onnx.checker.check_model(onnx.load_from_string(graph))
    np.testing.assert_allclose(effects[0], (later - conditioning)[-effects.shape[1] :], atol=1e-4)
    (expects,) = [one for one in signature(bundle)["inputs"] if one["name"] == "effects"]
    assert expects["shape"] == ["n", effects.shape[1]]
    promised = {one["name"]: one["dtype"] for one in remembering_signature(bundle)["inputs"]}
    assert promised == {name: array.dtype.name for name, array in steps.items()}
    got = run(policy, **named("observation", last), effects=effects)
    np.testing.assert_allclose(got, runtime.act(later[None], last), atol=1e-3)
    assert got.shape[1:] == spec.actions.shape


def test_what_steps_tell_is_missing_in_an_older_bundle_which_says_so() -> None:
    bundle = made("dynamics")
    older = bundle.with_graphs({name: graph for name, graph in bundle.graphs.items() if name != "remember"})
    with pytest.raises(InvalidConfig, match=r"no remember\.onnx in it; `wtl export BUNDLE` adds it"):
        remembering(older)


def test_a_graph_that_does_not_fit_its_weights_is_refused() -> None:
    bundle = made("reach")
    belief = OnnxRuntime.load(bundle).infer_belief([contexts(bundle.spec, np.random.default_rng(0))[0]])[0]
    no_graphs = bundle.with_graphs({"conditioning": b"no graph", "act": b"either"})
    for broken in (no_graphs, replace(bundle, weights={})):
        with pytest.raises(InvalidConfig, match="its graphs do not fit"):
            standalone(broken, belief)


def test_a_bundle_without_graphs_says_how_to_get_them_and_hands_out_its_episodes(
    http: TestClient, client: Client, demo: Episode
) -> None:
    adaptation = client.adapt("point", [demo])
    runtime = http.app.state.container.registry.get("point").runtime
    n_inferred = runtime.n_inferred
    with pytest.raises(ClientError, match="`wtl export BUNDLE` adds them") as refused:
        adaptation.export()
    assert (refused.value.status, refused.value.type) == (409, "urn:problem-type:wtl:policy-not-exportable")
    assert adaptation.episodes().demos == (demo,)
    exported = adaptation.export(policy=False)
    assert exported.policy is None
    assert set(exported.manifest["sha256"]) == {"episodes.safetensors"}
    assert "policy" not in exported.manifest
    assert runtime.n_inferred == n_inferred


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [("?version=9", 404, "version-not-found"), ("?version=0", 400, ""), ("?policy=perhaps", 400, "")],
)
def test_bad_questions_get_problems(client: Client, http: TestClient, demo: Episode, query, status, kind) -> None:
    answer = http.get(f"/v1/adaptations/{client.adapt('point', [demo]).id}/export{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert kind in answer.json()["type"]
    assert http.get("/v1/adaptations/../export").status_code == 404
    assert http.get(f"/v1/adaptations/{'0' * 24}/export").status_code == 404


def test_other_tenants_and_other_scopes_export_nothing(http: TestClient, wire: dict[str, object], make: Make) -> None:
    owner, other = make("a"), make("b")
    adaptation = http.post("/v1/adaptations", json={"model": "point", "demos": [wire]}, headers=owner).json()["id"]
    path = f"/v1/adaptations/{adaptation}/export?policy=false"
    assert http.get(path, headers=owner).status_code == 200
    assert http.get(path, headers=other).status_code == 404
    assert http.get(path).status_code == 401
    refused = http.get(path, headers=make("a", ("models:read", "jobs")))
    assert (refused.status_code, refused.json()["expected"]) == (403, "a key with the scope adapt")


def test_both_clients_write_and_read_archives(app: FastAPI, http: TestClient, demo: Episode, tmp_path: Path) -> None:
    adaptation = Client(http=http).adapt("point", [demo]).add_trials([demo, replace(demo, success=False)])
    path = tmp_path / "task.zip"
    exported = adaptation.export(path, policy=False)
    assert Export.read(path).context == exported.context == adaptation.episodes()
    assert [trial.success for trial in exported.context.trials] == [True, False]

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with AsyncClient(http=httpx.AsyncClient(transport=transport, base_url="http://test")) as client:
            found = await client.adaptation(adaptation.id, version=1)
            assert await found.episodes() == replace(exported.context, trials=())
            latest = await client.adaptation(adaptation.id)
            assert (await latest.export(tmp_path / "async.zip", policy=False)).archive == path.read_bytes()

    asyncio.run(ask())
    assert (tmp_path / "async.zip").read_bytes() == path.read_bytes()


def test_a_changed_archive_is_refused(client: Client, demo: Episode, tmp_path: Path) -> None:
    archive = client.adapt("point", [demo]).export(policy=False).archive
    source = zipfile.ZipFile(io.BytesIO(archive))
    manifest, episodes = (source.read(name) for name in ("manifest.json", "episodes.safetensors"))

    def packed(manifest: bytes, episodes: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", method) as file:
            file.writestr("manifest.json", manifest)
            file.writestr("episodes.safetensors", episodes)
        return target.getvalue()

    assert Export.of(packed(manifest, episodes)).context.demos == (demo,)
    for broken, why in (
        (b"", "the archive of an adaptation"),
        (archive[:-30], "the archive of an adaptation"),
        (packed(manifest, episodes[:-1] + b"\1"), "what the manifest says"),
        (packed(manifest.replace(b'"schema": 1', b'"schema": 2'), episodes), "schema 1"),
        (packed(b"[]", episodes), "the archive of an adaptation"),
        (packed(manifest, episodes, zipfile.ZIP_DEFLATED), "stored files"),
    ):
        with pytest.raises(InvalidData, match=why):
            Export.of(broken)


def test_the_command_line_writes_archives_and_minari_datasets(
    app: FastAPI, demo: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    out = tmp_path / "task.zip"
    with served(app) as url:
        monkeypatch.setenv("WTL_URL", url)
        with Client(url) as client:
            adaptation = client.adapt("point", [demo])
            with adaptation.episode() as episode:
                first = np.array(episode.act([0, 0, 0]))
                adaptation = episode.finish([1, 0, 0], 1.0, success=True)
        common = ["export-adaptation", adaptation.id]
        assert main([*common, "--out", str(out), "--no-policy", "--episodes-to", "minari:robot/all-v0"]) == 0
        assert main([*common, "--episodes-to", "minari:robot/recorded-v0", "--only", "trials"]) == 0
        said = capsys.readouterr().out
        assert f"1 demos, 1 trials, no policy: {out}" in said
        assert "1 episodes: minari:robot/recorded-v0" in said
        (recorded,) = read_minari("robot/recorded-v0").episodes
        assert recorded == Export.read(out).context.trials[0]
        np.testing.assert_array_equal(recorded.actions[0], first)
        assert recorded.success is True
        assert len(read_minari("robot/all-v0").episodes) == 2
        with zipfile.ZipFile(out) as archive:
            archive.extractall(tmp_path)
        assert read_episodes(tmp_path / "episodes.safetensors").episodes == (demo, recorded)
        for wrong, sentence in (
            (common, "export where to"),
            ([*common, "--out", str(out), "--only", "demos"], "--only chooses"),
            ([*common, "--out", str(out)], "`wtl export BUNDLE` adds them"),
            ([*common, "--episodes-to", "minari:robot/all-v0"], "already"),
            (["export-adaptation", "0" * 24, "--out", str(out)], "No such adaptation"),
        ):
            assert main(wrong) == 2
            err = re.sub(r"(?m)^\d{4}-\d\d-\d\d.*\n", "", capsys.readouterr().err)
            assert sentence in err
            assert err.count("\n") == 1


ALONE = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from service.app import create_app
from service.client import Client
from service.settings import Settings

with TestClient(create_app(Settings(data=Path({data!r}), models=Path({models!r}), runtime="onnx"))) as http:
    model = (client := Client(http=http)).model("reach")
    adaptation = client.adapt("reach", demos=[model.example])
    adaptation.export({path!r})
    print(adaptation.act([[0.0] * 10]).tolist())
sys.exit("imported torch" if "torch" in sys.modules else 0)
"""


@pytest.mark.slow
def test_it_takes_no_torch_and_then_no_service(tmp_path: Path) -> None:
    path = str(tmp_path / "task.zip")
    script = ALONE.format(data=str(tmp_path / "data"), models=str(SHIPPED_MODELS / "reach"), path=path)
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    # The example, as a user runs it, where neither this package nor torch can be imported.
    blocked = "import sys; sys.modules.update(dict.fromkeys(('metalearn', 'service', 'torch', 'onnx')))\n"
    runs = (
        f"import runpy; sys.argv[1:] = [{path!r}]; runpy.run_path('examples/standalone_policy.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", blocked + runs], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    title, actions = done.stdout.splitlines()
    assert title.startswith("reach@1, version 1, hypothesis ")
    expected = json.loads(made.stdout.splitlines()[-1])
    np.testing.assert_allclose(json.loads(actions), expected, atol=1e-5)


def test_the_model_of_these_tests_has_no_graphs() -> None:
    assert not pointing().graphs
