"""Bundles of schema 1, made by the code of that time, become bundles of schema 2 with the same numbers."""

import errno
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from metalearn import bundle_upgrade
from metalearn.baselines.methods import MilConfig
from metalearn.baselines.mil import Mil
from metalearn.bundle import Bundle
from metalearn.bundle_upgrade import Upgrade, upgrade
from metalearn.config import Experiment
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.model.export import FIELDS, ROLES
from metalearn.model.inference import Inference
from service.inference.onnx_runtime import Graph
from service.settings import SHIPPED_MODELS
from wtl.cli import main

SCHEMA_1 = Path(__file__).with_name("bundle-schema-1.zip")
ID = "1bda92d11b02df9d76a44f8a12c74e4cd81d75927b845a4d7f5294144e0aad3d"
DEMO = Episode(np.array([[0, 0.1], [0.2, 0.3], [0.4, -0.5]], np.float32), np.array([[0.5], [-0.5]], np.float32))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a bundle of schema 1 that has everything a bundle can have."""
    zipfile.ZipFile(SCHEMA_1).extractall(tmp_path / "models" / "tiny")
    return tmp_path / "models" / "tiny"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_old_bundle_is_refused_with_the_command_that_upgrades_it(old: Path) -> None:
    with pytest.raises(InvalidConfig, match=f"wtl models upgrade {old}"):
        Bundle.load(old)


def test_everything_is_carried_over_under_new_names(old: Path) -> None:
    (old / "notes.txt").write_text("mine")
    before = content(old)
    policy, mil = load_file(old / "weights.safetensors"), load_file(old / "baselines" / "mil.safetensors")
    [done] = upgrade(old)
    bundle, after = Bundle.load(old), content(old)
    assert done == Upgrade(old, ID, bundle.id)
    assert bundle.provenance["upgraded"] == {"schema": 1, "id": ID}
    kept = {"confidence.safetensors", "report.json", "notes.txt"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    graphs = {"belief.onnx", "conditioning.onnx", "act.onnx", "heads.onnx"}
    weights = {"weights.safetensors", "baselines/bc.safetensors", "baselines/mil.safetensors"}
    assert set(after) == kept | graphs | weights | {"bundle.json", "README.md"}
    assert bundle.weights["encoder.observations.std"].tobytes() == policy.pop("features.std").tobytes()
    assert {value.tobytes() for value in bundle.weights.values()} == {value.tobytes() for value in policy.values()}
    assert bundle.baselines["mil"]["observations.mean"].tobytes() == mil["mean"].tobytes()
    assert len(bundle.baselines["mil"]) == len(mil)
    training = Experiment.model_validate(bundle.provenance["experiment"]).training
    assert (training.demo_dropout, training.anneal_steps, training.freeze_batchnorm_after) == (0.3, 7, 0.5)
    config = MilConfig.model_validate(bundle.provenance["baselines"]["mil"]["config"])
    assert config.latent_dim == 3
    Mil.from_weights(bundle.baselines["mil"], bundle.spec, config)
    assert not (old.parent / ".upgrading").exists()


def test_beliefs_and_actions_stay_bit_for_bit(old: Path) -> None:
    names, rng = {"believe": "belief", "stance": "conditioning", "act": "act"}, np.random.default_rng(0)
    weights = load_file(old / "weights.safetensors")
    graphs = {name: (old / f"{name}.onnx").read_bytes() for name in names}
    list(upgrade(old))
    bundle = Bundle.load(old)
    inference = Inference.load(bundle)
    demos, none = inference._tensors([[DEMO], [DEMO]]), inference._tensors([[], []])
    inputs = {
        f"{role}.{name}": getattr(one, name).numpy()
        for role, one in zip(ROLES, (demos, none), strict=True)
        for name in FIELDS
    }
    for was, now in names.items():
        expected = Graph(graphs[was], weights).run(inputs)
        renamed = {
            {"code": "latent", "stance": "conditioning"}.get(name, name): value for name, value in inputs.items()
        }
        got = Graph(bundle.graphs[now], bundle.weights).run(renamed)
        assert [one.tobytes() for one in got] == [one.tobytes() for one in expected]
        observations = rng.normal(size=(2, 2)).astype(np.float32)
        inputs = {"code": expected[0], "stance": expected[0], "hypothesis": np.arange(2), "observations": observations}


def test_beliefs_and_actions_are_what_they_were_where_the_bundle_was_made(old: Path) -> None:
    list(upgrade(old))
    inference = Inference.load(Bundle.load(old))
    [belief] = inference.infer_belief([Context((DEMO,))])
    conditioning = inference.conditioning(np.stack([belief.latent] * 2), np.arange(2))
    actions = inference.act(conditioning, np.array([[0.3, 0.2]] * 2, np.float32))
    np.testing.assert_allclose(belief.latent, [-0.00753116, -0.21640913], atol=1e-6)
    np.testing.assert_allclose(belief.probabilities, [0.56364393, 0.43635601], atol=1e-6)
    np.testing.assert_allclose(actions[:, 0], [0.05588564, 0.05297998], atol=1e-6)


def test_a_bundle_is_upgraded_once(old: Path) -> None:
    list(upgrade(old.parent))
    before = content(old)
    assert list(upgrade(old.parent)) == [Upgrade(old, before=Bundle.load(old).id)]
    assert content(old) == before


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"schema": 3}, "expected schema 1 or 2, got 3"),
        ({"model": {"code_size": "many"}}, "latent_dim"),
        ({"model": {"frames": 3}}, "frames"),
        ({"model": {"code_size": 5}}, "size mismatch"),
        ({"sha256": {"weights": "0" * 64}}, "does not match the digest"),
        ({"provenance": 3}, ""),
    ],
)
def test_what_cannot_be_upgraded_is_left_as_it_was_and_the_others_are_not(old: Path, head: dict, said: str) -> None:
    zipfile.ZipFile(SCHEMA_1).extractall(other := old.parent / "other")
    file = other / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | head))
    before = content(other)
    refused, done = upgrade(old.parent)
    assert (refused.folder, done.folder, done.problem) == (other, old, None)
    assert said in (refused.problem or "")
    assert refused.problem
    assert content(other) == before


@pytest.mark.parametrize("absent", ["torch", "onnx"])
def test_without_what_exports_graphs_nothing_is_touched(
    old: Path, absent: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle_upgrade, "find_spec", lambda name: None if name == absent else object())
    before = content(old)
    assert main(["models", "upgrade", str(old.parent)]) == 2
    assert f"exporting its graphs again: {absent} is not installed" in capsys.readouterr().err
    assert content(old) == before


def test_a_bundle_without_graphs_needs_no_torch(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_upgrade, "find_spec", lambda name: None)
    file = old / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"onnx": {}}))
    assert [one.problem for one in upgrade(old)] == [None]
    assert not Bundle.load(old).graphs


def test_a_run_that_was_stopped_half_way_is_taken_up(old: Path) -> None:
    aside = old.parent / ".upgrading" / "tiny"
    (aside / "new").mkdir(parents=True)
    old.rename(aside / "old")
    assert [one.before for one in upgrade(old.parent)] == [ID]
    assert Bundle.load(old).provenance["upgraded"]["id"] == ID
    assert not aside.parent.exists()


def test_a_new_bundle_that_is_damaged_gives_way_to_the_old_one(old: Path) -> None:
    aside = old.parent / ".upgrading" / "tiny"
    aside.mkdir(parents=True)
    shutil.copytree(old, aside / "old")
    (old / "weights.safetensors").write_bytes(b"")
    (old / "bundle.json").write_text(json.dumps(json.loads((old / "bundle.json").read_text()) | {"schema": 2}))
    assert [one.before for one in upgrade(old.parent)] == [ID]
    assert Bundle.load(old).provenance["upgraded"]["id"] == ID


def test_a_rename_that_fails_leaves_the_old_bundle(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rename = content(old), Path.rename

    def fails_once_it_matters(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.ENOSPC, "no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_once_it_matters)
    assert ["no space" in (one.problem or "") for one in upgrade(old.parent)] == [True]
    assert content(old) == before


def test_a_bundle_behind_a_link_is_upgraded_where_it_is(old: Path, tmp_path: Path) -> None:
    models = tmp_path / "models-of-links"
    models.mkdir()
    (models / "linked").symlink_to(old)
    assert [(one.folder, one.problem) for one in upgrade(models)] == [(old.resolve(), None)]
    assert (models / "linked").is_symlink()
    assert Bundle.load(models / "linked").provenance["upgraded"]["id"] == ID


@pytest.mark.slow
def test_runs_at_the_same_time_take_turns(old: Path) -> None:
    for name in ("another", "third"):
        shutil.copytree(old, old.parent / name)
    program = (
        "import sys, pathlib; from metalearn.bundle_upgrade import upgrade; "
        "print(*(one.problem for one in upgrade(pathlib.Path(sys.argv[1])) if one.problem))"
    )
    command = [sys.executable, "-c", program, str(old.parent)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [run.communicate(timeout=100)[0].strip() for run in runs] == [""] * 3
    for name in (old.name, "another", "third"):
        assert Bundle.load(old.parent / name).provenance["upgraded"]["id"] == ID
    assert not (old.parent / ".upgrading").exists()


def test_a_bundle_without_example_and_card_gets_them_and_nothing_else_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHIPPED_MODELS / "reach", folder := tmp_path / "reach")
    shipped = content(folder)
    for name in ("example.json", "README.md"):
        (folder / name).unlink()
    assert main(["models", "upgrade", str(folder)]) == 0
    assert "example.json and README.md added" in capsys.readouterr().out
    assert content(folder) == shipped
    assert [(one.added, one.after) for one in upgrade(folder)] == [((), None)]


def test_an_example_is_recorded_of_registered_tasks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    shipped = Bundle.load(SHIPPED_MODELS / "reach").with_example(None)
    for changed in ({"experiment": {"family": "foreign:Tasks"}}, {"recorded": True}, {"experiment": None}):
        replace(shipped, provenance=shipped.provenance | changed).save(tmp_path / "one")
        (tmp_path / "one" / "README.md").unlink()
        assert [one.added for one in upgrade(tmp_path / "one")] == [("README.md",)]


def test_the_command_line_says_what_became_of_each(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "upgrade", str(old)]) == 0
    assert f"{ID[:12]} is {Bundle.load(old).id[:12]} now" in capsys.readouterr().out
    assert main(["models", "upgrade", str(old)]) == 0
    assert "already" in capsys.readouterr().out
    assert main(["models", "upgrade", str(old.parent / "nothing")]) == 2
