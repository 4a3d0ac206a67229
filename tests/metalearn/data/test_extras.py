"""A library that is not installed becomes a sentence that names the extra, for every library of every extra."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from metalearn.data import extras
from metalearn.data.extras import extra_of, missing_library

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
OPTIONAL = {
    re.match(r"[A-Za-z0-9._-]+", requirement).group().lower().replace("_", "-"): extra
    for extra, requirements in PROJECT["optional-dependencies"].items()
    if extra not in {"dev", "docs"}
    for requirement in requirements
}
WITHOUT_LEARN2LEARN = """
import sys
sys.modules["learn2learn"] = None
from metalearn.baselines.bundled import usual_baselines
from metalearn.baselines.mil import MilConfig, import_learn2learn
print(usual_baselines())
try:
    import_learn2learn()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(autouse=True)
def _as_pyproject_says(monkeypatch):
    """What is installed here may be of an earlier day."""
    wanted = [
        f'{requirement.partition(";")[0]}; extra == "{extra}"'
        for extra, requirements in PROJECT["optional-dependencies"].items()
        for requirement in requirements
    ]
    monkeypatch.setattr(extras, "requires", lambda package: [*PROJECT["dependencies"], *wanted])


@pytest.mark.parametrize("library", sorted(OPTIONAL))
def test_every_optional_library_is_known_by_the_name_it_is_imported_by(library):
    modules = [m for m, names in packages_distributions().items() if library in {_canonical(n) for n in names}]
    if not modules:
        pytest.skip(f"{library} is not installed here")
    importable = [module for module in modules if extra_of(module) == OPTIONAL[library]]
    assert importable, f"{library}: none of {modules} is known; add it to _DISTRIBUTIONS"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("torch", "torch is not installed: pip install 'watch-try-learn[train]'"),
        ("ray.serve", "ray is not installed: pip install 'watch-try-learn[train]'"),
        ("learn2learn", "learn2learn is not installed: pip install 'watch-try-learn[mil]'"),
        ("mlflow.entities", "mlflow is not installed: pip install 'watch-try-learn[mlflow]'"),
        ("MySQLdb", "MySQLdb is not installed"),
    ],
)
def test_what_to_install_is_said(module, said):
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert str(missing_library(error)) == said
    assert str(missing_library(error, "demos")) == f"demos: {said}"


def test_a_library_that_is_broken_says_how():
    error = ImportError("libGL.so.1: cannot open\nshared object file")
    assert str(missing_library(error)) == "libGL.so.1: cannot open shared object file"


def test_a_library_in_several_extras_is_named_with_the_smallest(monkeypatch):
    wanted = ['torch>=2; extra == "train"', 'ray; extra == "train"', "torch>=2; extra == 'words'"]
    monkeypatch.setattr(extras, "requires", lambda package: wanted)
    assert extra_of("torch") == "words"


def test_only_the_baseline_mil_needs_learn2learn():
    done = subprocess.run([sys.executable, "-c", WITHOUT_LEARN2LEARN], capture_output=True, text=True)
    assert "('bc',)" in done.stdout, done.stderr
    assert "InvalidConfig mil: learn2learn is not installed" in done.stdout, done.stderr


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
