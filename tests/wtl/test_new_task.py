"""`wtl new-task` writes a family that trains, and tests that pass, in an empty folder."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from metalearn.bundle import Bundle
from wtl.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    return tmp_path


@pytest.mark.slow
def test_what_it_writes_trains_and_its_tests_pass(folder: Path, capsys):
    assert main(["new-task", "my-doors"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1].strip()
    family = Path("my_doors.py")
    family.write_text(family.read_text().replace("range(2_000)", "range(64)").replace("11_000", "10_032"))  # a second
    done = subprocess.run([*shlex.split(line), "--steps", "20", "--no-baselines"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Bundle.load(Path("runs/my-doors/bundle")).name == "my-doors"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_doors.py"],
        capture_output=True,
        text=True,
    )
    assert "4 passed" in tested.stdout, tested.stdout


@pytest.mark.parametrize("name", ["", "3d", "a b", "../evil", "json", "class", "metalearn", "x" * 80, "n\u00e4me"])
def test_a_name_that_cannot_be_a_module_of_its_own_is_refused(name: str, folder: Path, capsys):
    assert main(["new-task", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_files_that_are_there_stay_as_they_are(folder: Path, capsys):
    (folder / "test_doors.py").write_text("mine")
    assert main(["new-task", "doors"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("test_doors.py", "mine")]
