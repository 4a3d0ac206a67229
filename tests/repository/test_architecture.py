"""Heavy libraries stay out of processes that do not need them, seen from outside: in a fresh interpreter.

The import contracts in pyproject.toml say who may import what; this says when it is imported.
"""

import subprocess
import sys

import pytest

HEAVY = ("gym", "learn2learn", "metaworld", "mujoco", "ray", "torch")


def imported_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `statement`."""
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "metalearn.adapter",
        "metalearn.bundle",
        "wtl.cli",
        "metalearn.data.dataset",
        "metalearn.data.formats",
        "metalearn.experiments",
        "metalearn.tasks.registry",
        "service.app",
        "service.client",
    ],
)
def test_importing_a_module_at_the_door_loads_nothing_heavy(module):
    assert imported_by(f"import {module}").isdisjoint(HEAVY)


def test_libraries_of_datasets_are_loaded_when_a_dataset_is_read():
    formats = {"h5py", "minari", "pyarrow"}
    assert imported_by("import metalearn.data.formats, service.app, service.client").isdisjoint(formats)
    assert imported_by("from metalearn.data.formats.hdf5 import opened\nimport h5py") >= {"h5py"}


SERVER = {"alembic", "fastapi", "gymnasium", "onnx", "onnxruntime", "pydantic", "pydantic_core", "sqlalchemy", "torch"}


def test_the_client_loads_nothing_of_a_server():
    assert imported_by("from service.client import Client").isdisjoint(SERVER)


@pytest.mark.parametrize("module", ["service.codecs", "service.app", "metalearn.data.spec"])
def test_the_test_sees_what_a_server_needs(module):
    assert not imported_by(f"from service.client import Client\nimport {module}").isdisjoint(SERVER)


def test_the_policy_does_not_load_a_simulator_or_ray():
    assert imported_by("import metalearn.model.policy").isdisjoint({*HEAVY} - {"torch"})


def test_the_baseline_of_learn2learn_does_not_load_it_before_it_trains():
    assert "learn2learn" not in imported_by("import metalearn.baselines.mil")


def test_the_test_sees_a_heavy_module_when_there_is_one():
    assert "torch" in imported_by("import wtl.cli\nimport torch")


def test_the_command_line_answers_without_numpy():
    assert "numpy" not in imported_by("import wtl.cli")
