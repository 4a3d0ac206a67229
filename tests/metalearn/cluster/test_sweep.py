"""Sweeps: what may be varied, what is claimed, and that a sweep that was killed goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from metalearn.cluster.sweep import Sweep, parse_space, run_sweep
from metalearn.config import Experiment
from metalearn.data.errors import InvalidConfig
from metalearn.experiments import find_experiment

DARK = find_experiment("dark-room")


def sweep(space, samples=None, experiment=DARK, storage="x"):
    return Sweep(experiment, space, samples, storage, "any")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"training.learning_rte": 1}, "did you mean training.learning_rate"),
        ({"training": 1}, "unknown setting 'training'"),
        ({"model.n_hypotheses": 0}, "model.n_hypotheses: expected a whole number, at least 1"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(changes, sentence):
    with pytest.raises(InvalidConfig, match=sentence):
        sweep({key: [value] for key, value in changes.items()})


def test_a_space_is_read_from_the_command_line_and_from_json(tmp_path):
    (tmp_path / "space.json").write_text('{"training.learning_rate": {"loguniform": [1e-4, 1e-2]}}')
    space = parse_space(["model.n_hypotheses=2,4", str(tmp_path / "space.json")])
    assert space == {"model.n_hypotheses": [2, 4], "training.learning_rate": {"loguniform": [1e-4, 1e-2]}}
    for wrong in ("nothing-there.json", "model.n_hypotheses"):
        with pytest.raises(InvalidConfig, match="expected KEY=a,b,c or a JSON file"):
            parse_space([wrong])


@pytest.mark.parametrize("given", [{"loguniform": [1e-2, 1e-4]}, {"normal": [0, 1]}, {"uniform": [1]}, {}])
def test_a_range_that_is_none_is_one_sentence(given):
    with pytest.raises(InvalidConfig, match="expected one of uniform, loguniform, randint"):
        sweep({"training.learning_rate": given}, samples=2)


def test_a_range_needs_a_number_of_samples_and_a_sweep_needs_validation_tasks():
    with pytest.raises(InvalidConfig, match="how many --samples"):
        sweep({"training.learning_rate": {"uniform": [1e-4, 1e-2]}})
    recorded = Experiment(name="recorded", family="")
    with pytest.raises(InvalidConfig, match="a sweep needs validation tasks"):
        sweep({"seed": [1, 2]}, experiment=recorded)
    with pytest.raises(InvalidConfig, match="a sweep over nothing"):
        sweep({})


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a b"])
def test_the_name_of_a_sweep_is_one_folder(name):
    with pytest.raises(InvalidConfig, match="--name: expected 1 to 64 letters"):
        replace(sweep({"seed": [1, 2]}), name=name)


def test_the_name_of_another_sweep_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "any").mkdir()
    first = sweep({"seed": [1, 2]}, storage=str(tmp_path))
    (tmp_path / "any" / "sweep.json").write_text(json.dumps(first.to_json()))
    with pytest.raises(InvalidConfig, match="holds another sweep"):
        run_sweep(sweep({"seed": [1, 3]}, storage=str(tmp_path)))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_sweep_that_was_killed_goes_on(tmp_path):
    command = [sys.executable, "-m", "wtl.cli", "tune", "dark-room", "--steps", "40", "--storage", str(tmp_path)]
    command += ["--space", "training.learning_rate=1e-5,3e-3", "--space", "data.n_tasks=512"]
    environment = {**os.environ, "RAY_ADDRESS": os.environ.get("RAY_ADDRESS", "local")}
    log = tmp_path / "log"
    with log.open("w") as file:
        killed = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    deadline = time.monotonic() + 600
    runs = tmp_path / "dark-room" / "runs"
    while not list(runs.glob("*/checkpoint.safetensors")):
        assert killed.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.5)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    made = {path: path.stat().st_mtime_ns for path in runs.glob("*/dataset/dataset.json")}
    assert made

    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == made  # nothing was begun anew
    results = json.loads((tmp_path / "dark-room" / "results.json").read_text())
    assert [one["changes"]["training.learning_rate"] for one in results] == [3e-3, 1e-5]
    best = json.loads((tmp_path / "dark-room" / "best.json").read_text())
    assert Experiment.model_validate(best["experiment"]).training.learning_rate == 3e-3
    assert (Path(best["run"]) / "bundle" / "bundle.json").exists()
