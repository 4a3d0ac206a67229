import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from metalearn.settings import settings
from wtl.cli import main
from wtl.cli.train import _experiment

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "train",
    "evaluate",
    "benchmark",
    "serve",
    "demo",
    "adapt",
    "act",
    "recognise",
    "check",
    "convert",
    "formats",
    "experiments",
    "settings",
    "submit",
    "tune",
    "models",
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Commands write into the current folder, and put it on the search path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in COMMANDS)], ids=lambda command: "".join(command) or "wtl"
)
def test_help_is_given(command, capsys):
    assert main([*command, "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: wtl")


TAUGHT = (
    "train",
    "settings",
    "submit",
    "tune",
    "evaluate",
    "serve",
    "demo",
    "adapt",
    "act",
    "recognise",
    "check",
    "convert",
    "formats",
)


@pytest.mark.parametrize("command", TAUGHT)
def test_help_teaches_by_examples(command, capsys):
    main([command, "--help"])
    assert f"Examples:\n    wtl {command}" in capsys.readouterr().out


def test_named_experiments_are_listed(capsys):
    assert main(["experiments"]) == 0
    assert "reach-m2" in capsys.readouterr().out


def test_settings_are_listed_with_default_meaning_and_values(capsys):
    assert main(["settings", "n_frames"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["setting", "default", "meaning"]
    assert [row.split()[:2] for row in rows if row.startswith(("model.", "training."))] == [
        ["model.n_frames", "automatic"]
    ]
    assert (
        "a whole number, at least 2" in rows[1] and "automatic: from the length of the episodes, otherwise 3" in rows[1]
    )
    assert main(["settings"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:] if not line.startswith(" ")}
    assert listed == set(settings())


@pytest.mark.parametrize(
    ("named", "dataset", "minutes"),
    [("ml10-large", None, None), ("reach-m2", None, 3), (None, None, 20), (None, "robots", 20)],
)
def test_what_is_trained_without_an_experiment_may_take_twenty_minutes(named, dataset, minutes, tmp_path):
    (tmp_path / "mine.py").write_text(OWN_FAMILY)
    sys.path.insert(0, str(tmp_path))
    assert _experiment(named, None if named or dataset else "mine:Few", dataset).training.minutes == minutes


def bundle(folder: Path, content: bytes) -> Path:
    (folder / "broken").mkdir()
    (folder / "broken" / "bundle.json").write_bytes(content)
    return folder / "broken"


def mistake(capsys, *arguments: object) -> str:
    """What `wtl` says, in one sentence and without a traceback, of a mistake."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"wtl: [^\n]+\n", err), err
    return err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trian",), "Did you mean 'train'"),
        (("train",), "Name an experiment"),
        (("train", "reach-n2"), "did you mean reach-m2"),
        (("train", "reach-m2", "--seed", "-1"), "--seed"),
        (("train", "reach-m2", "--seed", "x"), "--seed"),
        (("train", "reach-m2", "--seed", 10**30), "--seed"),
        (("train", "reach-m2", "--steps", "0"), "--steps"),
        (("train", "reach-m2", "--minutes", "0"), "--minutes"),
        (("train", "reach-m2", "--minutes", "nan"), "--minutes"),
        (("train", "reach-m2", "--minutes", "5", "--steps", "100"), "steps and minutes both say when"),
        (("train", "reach-m2", "--set", "model.n_frame=4"), "did you mean model.n_frames?"),
        (("train", "reach-m2", "--set", "n_frames"), "expected NAME=VALUE, as model.n_frames=16, got 'n_frames'"),
        (("train", "reach-m2", "--set", "model.n_frames=1"), "model.n_frames: expected a whole number, at least 2"),
        (("train", "reach-m2", "--set", "model.units=1"), "model.units is not for you to set"),
        (("train", "reach-m2", "--seed", "1", "--set", "seed=2"), "seed is set, and seed decides it too"),
        (("settings", "unheard-of"), "no setting has 'unheard-of' in its name or meaning"),
        (("train", "reach-m2", "--workers", "-2"), "--workers"),
        (("train", "--family", "nowhere:Nothing"), "No module named 'nowhere'"),
        (("train", "--family", "json:Nothing"), "Nothing"),
        (("train", "--family", "json:JSONDecoder"), "not a family"),
        (("train", "--family", "nothing"), "module:Class"),
        (("train", "--dataset", "nowhere"), "no dataset at nowhere"),
        (("train", "reach-m2", "--ray-address", "127.0.0.1:1"), "no Ray cluster at 127.0.0.1:1"),
        (("train", "reach-m2", "--learners", "2"), "--actors and --learners need --ray"),
        (("train", "reach-m2", "--ray", "--learners", "2", "--device", "cuda"), "compute on CPUs"),
        (("evaluate", "nowhere"), "no bundle at nowhere"),
        (("evaluate", "a\0b"), "no bundle"),
        (("evaluate",), "bundle"),
        (("evaluate", "reach", "--episodes", "-5"), "--episodes"),
        (("models", "nowhere"), "no folder of bundles at nowhere"),
        (("serve", "--port", "-1"), "--port"),
        (("serve", "--port", "70000"), "--port"),
        (("serve", "--port", "http"), "--port"),
        (("serve", "--host", "0.0.0.0", "--port", "0"), "refusing to serve"),
        (("serve", "--host", "no.such.host.invalid", "--port", "0"), "cannot listen at no.such.host.invalid"),
        (("demo", "--tasks", "0"), "--tasks"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, said, capsys):
    assert said in mistake(capsys, *arguments)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"{}", b"\xff\xfe\x00", b'{"schema": 99}', b"[" * 100_000, b'{"schema": 1}'],
    ids=range(10),
)
def test_what_is_not_a_bundle_is_said_to_be_none(content, capsys, tmp_path):
    folder = bundle(tmp_path, content)
    assert "bundle" in mistake(capsys, "evaluate", folder, "--manifest", "reach-m2")
    assert "bundle" in mistake(capsys, "serve", "--models", tmp_path, "--port", "0")
    assert "bundle" in mistake(capsys, "models", tmp_path)


def damaged(folder: Path, **head: object) -> Path:
    """An untrained bundle that loads, but for what is wrong in the head of its bundle.json."""
    from metalearn.bundle import Bundle
    from metalearn.config import ModelConfig
    from metalearn.model.policy import ConditionalPolicy
    from metalearn.tasks.registry import find_family

    spec, config = find_family("reach-m2").spec, ModelConfig(encoder_width=16, latent_dim=8, policy_width=16)
    weights = ConditionalPolicy(config, spec).to_weights()
    Bundle("any", spec, config.model_dump(mode="json"), weights).save(folder)
    file = folder / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | head))
    return folder


BOX = {"type": "box", "shape": [5], "low": [0, 0], "high": 1, "dtype": "float32"}
SPEC = {"observation_space": BOX, "action_space": BOX, "horizon": 3, "rate_hz": 1, "version": 1}


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"name": 3}, "expected a name"),
        ({"name": "../evil"}, "cannot name a model"),
        ({"provenance": None}, "objects"),
        ({"model": {}}, "do not fit"),
        ({"model": {"policy_width": "wide"}}, "do not fit"),
        ({"spec": SPEC}, ": action_space.low: expected one number or 5, got 2"),
        ({"spec": SPEC | {"observation_space": BOX | {"low": 0}}}, "action_space.low"),
        (
            {"spec": SPEC | {"observation_space": BOX | {"low": 0}, "action_space": BOX | {"low": 0}, "horizon": -5}},
            "horizon",
        ),
        ({"sha256": {}}, "weights"),
    ],
    ids=range(9),
)
def test_what_is_wrong_in_a_bundle_is_said_before_it_is_served(head, said, capsys, tmp_path):
    before = logging.root.handlers[:], logging.root.level
    assert said in mistake(capsys, "serve", "--models", damaged(tmp_path / "any", **head), "--port", "0")
    assert (logging.root.handlers, logging.root.level) == before  # the log is the server's as long as it runs


@pytest.mark.parametrize("report", [{}, {"methods": {"wtl": {"curve": [{"success": "high"}]}}}, {"methods": 3}])
def test_a_report_of_something_else_is_no_reason_to_fail(report, capsys, tmp_path):
    (damaged(tmp_path / "any") / "report.json").write_text(json.dumps(report))
    assert main(["models", "."]) == 0
    assert "something else" in " ".join(capsys.readouterr().out.split())


def test_a_report_cannot_be_a_folder(capsys, tmp_path):
    assert "name a file" in mistake(capsys, "evaluate", damaged(tmp_path / "any"), "--report", tmp_path)


def test_a_bundle_without_an_experiment_needs_a_manifest(capsys, tmp_path):
    folder = damaged(tmp_path / "any", provenance={"experiment": 3})
    assert "--manifest or --family is needed" in mistake(capsys, "evaluate", folder)


FOREIGN = """
import gymnasium as gym, numpy as np
from gymnasium import spaces
from metalearn.data.spec import Spec

SPEC = Spec(spaces.Box(-1, 1, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32), 4, 10.0)

class Env(gym.Env):
    observation_space, action_space = SPEC.observation_space, SPEC.action_space
    def reset(self, seed=None, options=None):
        return np.zeros(3, np.float32), {}
    def step(self, action):
        return np.zeros(3, np.float32), 0.0, True, False, {"success": False}
    def expert_action(self):
        return np.zeros(2, np.float32)

class Good:
    name, version, spec = "good", 1, SPEC
    splits = {"train": range(9), "validation": range(9, 12), "test": range(12, 15)}
    env = Env
    def make(self, index, scene="trial", render_mode=None):
        return self.env()

class Booms(Good):
    def __init__(self):
        raise RuntimeError("boom")

class WantsMore(Good):
    def __init__(self, more):
        pass

class BadName(Good):
    name = "../../evil"

class BadSpec(Good):
    spec = {"horizon": 3}

class BadSplits(Good):
    splits = [1, 2]

class Untrainable(Good):
    splits = {"train": range(0), "validation": range(3), "test": range(3, 6)}

class Unmakeable(Good):
    def make(self, index, scene="trial", render_mode=None):
        raise OSError("no simulator")

class Silent(Good):
    class env(Env):
        def step(self, action):
            return np.zeros(3, np.float32), 0.0, True, False, {}

class Endless(Good):
    class env(Env):
        def step(self, action):
            return np.zeros(3, np.float32), 0.0, False, False, {"success": False}

class Misshapen(Good):
    class env(Env):
        def step(self, action):
            return np.zeros(7, np.float32), 0.0, True, False, {"success": False}

class Burning(Good):
    class env(Env):
        def step(self, action):
            raise ValueError("on\\nfire")

number = 3
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Booms", "RuntimeError: boom (foreign_tasks.py:"),
        ("WantsMore", "missing 1 required positional argument"),
        ("number", "not callable"),
        ("BadName", "name: expected letters"),
        ("BadSpec", "spec: expected a Spec"),
        ("BadSplits", "splits: expected ranges"),
        ("Untrainable", "splits['train']: expected a range with tasks"),
        ("Unmakeable", "cannot be made: OSError: no simulator (foreign_tasks.py:"),
        ("Silent", "'success'"),
        ("Endless", "goes on after the 4 steps"),
        ("Misshapen", "expected shape [3], got shape [7]"),
        ("Burning", "ValueError: on fire (foreign_tasks.py:"),
    ],
)
def test_an_own_family_that_fails_is_one_sentence_that_says_where(name, said, capsys, tmp_path):
    (tmp_path / "foreign_tasks.py").write_text(FOREIGN)
    sys.modules.pop("foreign_tasks", None)
    assert main(["train", "--family", f"foreign_tasks:{name}", "--steps", "10", "--no-baselines"]) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"wtl: [^\n]+\n", err), err
    assert said in err


@pytest.mark.parametrize("content", ["class Broken(:", "1/0", "raise SystemExit('bye')"])
def test_a_module_that_fails_is_one_sentence(content, capsys, tmp_path):
    (tmp_path / "failing_tasks.py").write_text(content)
    sys.modules.pop("failing_tasks", None)
    assert "cannot be loaded" in mistake(capsys, "train", "--family", "failing_tasks:Any")


@pytest.mark.parametrize("name", [":", ":Any", "..:Any", "json:"])
def test_a_name_that_is_no_module_and_class_is_one_sentence(name, capsys):
    assert "cannot be loaded" in mistake(capsys, "train", "--family", name)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 99}', '{"schema": 1, "spec": 3, "shards": []}', "[" * 100_000]
)
def test_what_is_no_dataset_is_said_to_be_none(content, capsys, tmp_path):
    (tmp_path / "dataset.json").write_text(content)
    assert "dataset" in mistake(capsys, "train", "--dataset", tmp_path)


def test_a_taken_port_is_said_to_be_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen at 127.0.0.1:{port}" in mistake(capsys, "serve", "--port", port)


def test_a_file_where_a_folder_is_needed_is_named(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert "file" in mistake(capsys, "train", "reach-m2", "--out", tmp_path / "file")
    assert "file" in mistake(capsys, "evaluate", tmp_path / "file")
    assert "file" in mistake(capsys, "serve", "--data", tmp_path / "file", "--port", "0")


OWN_FAMILY = """
from dataclasses import dataclass
from metalearn.tasks.envs.reach import Reach

class Few(Reach):
    def __init__(self):
        super().__init__("few", n_objects=4, n_candidates=2)
    splits = {"train": range(32), "validation": range(32, 64), "test": range(64, 96)}
"""

MANIFEST = {
    "name": "few", "title": "Few", "family": "few", "n_tasks": 32, "horizon": 30, "success": "touched",
    "budget": {"demos": 1, "trials": 1},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_own_family_is_trained_stopped_and_resumed(tmp_path):
    (tmp_path / "mine.py").write_text(OWN_FAMILY)
    command = [
        sys.executable,
        "-m",
        "wtl.cli",
        "train",
        "--family",
        "mine:Few",
        "--steps",
        "20000",
        "--out",
        "run",
    ]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}

    def started(*more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen([*command, *more], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)

    process = started()
    assert any("trial" in line for line in process.stdout)  # it has looked at held-out success, and goes on
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command resumes" in said
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "run" / "bundle").exists()

    process = started()
    first = next(line for line in process.stdout if "train" in line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert int(re.search(r"(\d+)/20000", first)[1]) > 100


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_was_trained_can_be_evaluated_and_listed(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(OWN_FAMILY)
    (tmp_path / "few.json").write_text(json.dumps(MANIFEST))
    train = ["train", "--family", "mine:Few", "--steps", "20", "--out", "run", "--no-baselines"]
    assert main([*train, "--set", "model.n_frames=5", "--set", "training.batch_tasks=16"]) == 0
    made = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    kept = made["provenance"]["experiment"]
    assert (kept["model"]["n_frames"], kept["training"]["batch_tasks"], kept["training"]["minutes"]) == (5, 16, None)
    assert made["model"]["n_frames"] == 5
    assert "wtl evaluate run/bundle" in capsys.readouterr().out
    arguments = ["evaluate", "run", "--manifest", "few.json", "--family", "mine:Few", "--episodes", "16", "--save"]
    assert main([*arguments, "--report", "new/report.json", "--plot", "new/report.png"]) == 0
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert report["n_tasks"] == 16
    assert {"wtl", "random", "expert", "bayes"} <= set(report["methods"])
    assert (tmp_path / "new" / "report.png").stat().st_size > 10_000
    capsys.readouterr()
    assert main(["models", "run"]) == 0
    assert f"{100 * report['methods']['wtl']['curve'][1]['success']:.1f}%" in capsys.readouterr().out
