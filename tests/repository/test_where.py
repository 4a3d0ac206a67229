"""`docs/contributing/where.md` is true: each addition is made in a copy, touches the files named there, and works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.additions import ADDITIONS, Addition

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing" / "where.md").read_text()
COPIED = ("metalearn", "service", "wtl", "tests/support")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What runs, without what was built or trained."""
    for folder in COPIED:
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            ignore=shutil.ignore_patterns("__pycache__", "shipped_models", "node_modules"),
        )
    return tmp_path


def run(program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(folder), str(folder / "tests")])
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"where.md has no section {heading!r}"
    return found[1]


@pytest.mark.parametrize(
    "addition",
    [
        pytest.param(one, marks=() if one.heading in {"A dataset format", "A REST route"} else (pytest.mark.slow,))
        for one in ADDITIONS
    ],
    ids=lambda addition: addition.heading,
)
def test_an_addition_touches_the_files_that_the_page_names_and_works(addition: Addition, copy: Path) -> None:
    assert run(addition.proof, copy).returncode != 0, "the proof can fail"
    addition.make(copy)
    done = run(addition.proof, copy)
    assert done.returncode == 0, done.stderr[-3000:]
    listed = set(re.findall(r"^\d+\. `([^`]+)`", section(addition.heading), re.MULTILINE))
    named = {re.sub(r"/[^/]+\.py$", "/NAME.py", path) if path in addition.new else path for path in addition.files}
    assert listed == named
    assert len(listed) <= addition.at_most


def test_the_page_has_a_section_for_each_addition_and_no_other() -> None:
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == [addition.heading for addition in ADDITIONS]
