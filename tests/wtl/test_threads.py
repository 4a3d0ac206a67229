"""The number of threads is decided in one place, and what is started from there follows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metalearn.data.errors import InvalidConfig
from wtl.threads import use_threads

PROBE = """
import os, torch
raise ValueError(f"torch {torch.get_num_threads()}, children {os.environ['OMP_NUM_THREADS']}")
"""
TWICE = """
from wtl.cli import main
main(["train", "--family", "probe:Family"])
main(["train", "--family", "probe:Family", "--threads", "2"])
"""


@pytest.mark.parametrize(
    ("asked", "variables", "used"),
    [
        (None, {}, "1"),
        (2, {"WTL_THREADS": "3", "OMP_NUM_THREADS": "4"}, "2"),
        (None, {"WTL_THREADS": "3", "OMP_NUM_THREADS": "4"}, "3"),
        (None, {"OMP_NUM_THREADS": "4"}, "4"),
        (None, {"WTL_THREADS": "", "OMP_NUM_THREADS": ""}, "1"),
    ],
    ids=("default", "option", "setting", "OpenMP's", "empty"),
)
def test_an_option_goes_before_the_setting_and_that_before_openmps(asked, variables, used, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # what this process computes with stays as it is
    for name in ("WTL_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    use_threads(asked)
    assert os.environ["OMP_NUM_THREADS"] == used


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "99999999", "\u0663"])
def test_what_is_no_number_of_threads_is_refused(text, monkeypatch):
    monkeypatch.setenv("WTL_THREADS", text)
    with pytest.raises(InvalidConfig, match="WTL_THREADS: expected a number of threads"):
        use_threads()


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="torch takes no more threads than there are cores")
def test_a_training_computes_with_them_before_and_after_torch_is_loaded(tmp_path: Path):
    (tmp_path / "probe.py").write_text(PROBE)
    kept = {name: value for name, value in os.environ.items() if name not in {"WTL_THREADS", "OMP_NUM_THREADS"}}
    environment = kept | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", TWICE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    first, second = done.stderr.splitlines()
    assert "torch 1, children 1" in first
    assert "torch 2, children 2" in second
